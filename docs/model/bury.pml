/*
 * A one-way message whose handler is given up: a copy becomes the dead letter, or, without memory for one, the message itself, later.
 *
 * The steps are those of the paragraph on such messages in ../protocol.md; "Sweep (3)" is a step of the sweep there. Every access to a shared
 * word is one step. The consumer C may die between any two steps of its two goroutines, the sweeper anywhere, once. Who takes free frames
 * meanwhile (Other) finds out who writes into what is not its own. What README.md in this folder says about the abstractions holds for this
 * file; -DMUT_... makes one deliberate mistake.
 */

#ifndef NF
#define NF 2                    /* frames */
#endif
#ifndef KC
#define KC 0                    /* 1: the consumer may die */
#endif
#ifndef KS
#define KS 0                    /* 1: the sweeper is cut off once, anywhere, and another begins again */
#endif
#ifndef USES
#define USES 1                  /* how often somebody else uses a free frame */
#endif
#ifndef NOMEM
#define NOMEM 0                 /* 1: there may be no memory for a copy */
#endif

#define FREE 0
#define HELD 1
#define QUEUED 2
#define TAKEN 3
#define SETTLING 4
#define LENT 5
#define ATTACHED 6
#define A 8
#define ST(w) ((w) & 7)
#define HO(w) (((w) >> 4) & 7)  /* of ATTACHED: the head's index */
#define GE(w) ((w) >> 7)        /* of ATTACHED: the head's generation */
#define HAS_A(w) (((w) & A) != 0)
#define WORD(s, h, g) ((s) | ((h) << 4) | ((g) << 7))
#define PART(f, g) WORD(ATTACHED, f, g)

#define C 1
#define DL 2                    /* who reads the dead letters; never dies */
#define X 3                     /* who uses free frames; never dies */
#define S1 4
#define S2 5
#define NH 6

#define LIVE 0
#define DEAD 1
#define GONE 2
#define ALIVE(h) (mark[h] == LIVE)

#define NDL 3
#define PASSED 255

/* ---- the segment ---- */
short own[NF]; byte hbody[NF], hdet[NF]; bool hreason[NF], hletter[NF], hcopy[NF];      /* hcopy: it is the message, or a copy */
byte dslot[NDL], dtail, dhead;
byte mark[NH];

/* ---- private to C ---- */
bool settled, lock;             /* somebody ends the message; the life's mutex */

/* ---- the kernel, and ghosts ---- */
bool exited[NH]; byte thr[NH];
byte counted, arrived; bool handled, fenced;
byte kc, ks;

inline cas(x, old, new) {
	d_step { ok = (own[x] == (old)); if :: ok -> own[x] = (new) :: else fi }
}
/* A plain store of the one who may: it finds what it left there. */
inline set(x, old, new) {
	d_step { assert(own[x] == (old)); own[x] = (new) }
}

/* f, held by me, becomes a dead letter. */
inline post(f, g) {
	d_step { assert(own[f] == WORD(SETTLING, me, g)); hreason[f] = 1 }; /* step: letter.reason */
	d_step { assert(own[f] == WORD(SETTLING, me, g)); hletter[f] = 1 }; /* step: letter.header */
	set(f, WORD(SETTLING, me, g), WORD(QUEUED, me, g)); /* step: letter.queue */
	d_step { assert(dtail < NDL); dslot[dtail] = f + 1; dtail++ } /* step: letter.publish */
}
inline bury(f, g) {
	counted++; /* step: letter.count */
	post(f, g)
}

/* Frees what is attached to f of generation g, which me holds. */
inline drop_body(f, g) {
	n = hbody[f];
	if
	:: n != 0 && own[n - 1] == PART(f, g) ->
		d = hdet[n - 1];
		cas(n - 1, PART(f, g), WORD(HELD, me, d)); /* step: body.take */
		if
		:: ok ->
			hbody[f] = 0; /* step: body.forget */
			set(n - 1, WORD(HELD, me, d), WORD(FREE, 0, d)) /* step: body.drop */
		:: !ok
		fi
	:: else
	fi;
	d_step { n = 0; d = 0 }
}
inline put(f, g) {
	drop_body(f, g);
	set(f, WORD(HELD, me, g), WORD(FREE, 0, g + 1)) /* step: frame.free */
}

/* ---- the goroutine of the handler: frame 0, generation 0, is the message ---- */
proctype Handler(byte me) {
	short w; byte n, d; bool ok;
	{
	d_step { ok = !settled; settled = 1 }; /* step: handler.run */
	if
	:: ok ->                                        /* it came back in time */
		if
		:: d_step { assert(own[0] == WORD(TAKEN, C, 0)); own[0] = WORD(HELD, C, 0); handled = 1 }; /* step: message.release */
			put(0, 0)
		:: cas(0, WORD(TAKEN, C, 0), WORD(SETTLING, C, 0)); assert(ok); /* step: letter.settling */
			bury(0, 0)
		fi
	:: !ok ->
#ifndef MUT_RETURN_AT_ONCE
		!lock;                                  /* whoever took the token is done with the message */
#endif
		do
		:: w = own[0];                          /* Return */ /* step: lend.look */
			if
			:: GE(w) != 0 || ST(w) != LENT || HO(w) != C -> break
			:: GE(w) == 0 && ST(w) == LENT && HO(w) == C && !HAS_A(w) ->
				set(0, WORD(LENT, C, 0), WORD(SETTLING, C, 0)); /* step: lend.settling */
				bury(0, 0);
				break
			:: GE(w) == 0 && ST(w) == LENT && HO(w) == C && HAS_A(w) ->
				cas(0, w, WORD(HELD, C, 0)); /* step: lend.drop */
				if :: ok -> put(0, 0); break :: !ok fi
			fi
		od
	fi;
	atomic { w = 0; ok = 0; thr[me]-- }
	} unless {
		d_step { exited[me] -> w = 0; ok = 0; n = 0; d = 0; thr[me]-- }
	}
}

/* ---- the goroutine that gives the handler up, at any time ---- */
proctype Fence(byte me) {
	byte b, g; bool ok;
	{
	d_step { ok = !settled; settled = 1; lock = ok };
	if
	:: !ok
	:: ok ->
		fenced = 1;
		if                                              /* BuryCopy: a frame for the copy */
		:: atomic { ST(own[1]) == FREE -> b = 1; g = GE(own[1]); own[1] = WORD(HELD, C, g) } /* step: frame.hold */
#if NF > 2
		:: atomic { ST(own[2]) == FREE -> b = 2; g = GE(own[2]); own[2] = WORD(HELD, C, g) }
#endif
		:: NOMEM
		fi;
		if
		:: b != 0 ->
			d_step { assert(own[b] == WORD(HELD, C, g)); hreason[b] = 0; hletter[b] = 0; hbody[b] = 0; hcopy[b] = 1 }; /* step: frame.fill */
#ifdef MUT_LENT_FIRST
			set(0, WORD(TAKEN, C, 0), WORD(LENT, C, 0) | A);
#endif
			hdet[b] = g + 1; /* step: body.detached */
			hbody[0] = b + 1; /* step: body.name */
			set(b, WORD(HELD, C, g), PART(0, 0)); /* step: body.attach */
#ifdef MUT_COPY_FIRST
			set(b, PART(0, 0), WORD(SETTLING, C, g));
#endif
#ifdef MUT_LENT_NO_A
			set(0, WORD(TAKEN, C, 0), WORD(LENT, C, 0));
#else
#ifndef MUT_LENT_FIRST
			set(0, WORD(TAKEN, C, 0), WORD(LENT, C, 0) | A); /* step: copy.lend */
#endif
#endif
#ifndef MUT_COPY_FIRST
			set(b, PART(0, 0), WORD(SETTLING, C, g)); /* step: copy.settling */
#endif
			bury(b, g)
		:: b == 0 ->
			set(0, WORD(TAKEN, C, 0), WORD(LENT, C, 0)) /* step: copy.lend */
		fi
	fi;
	atomic { lock = 0; b = 0; g = 0; ok = 0; thr[me]-- }
	} unless {
		d_step { exited[me] -> b = 0; g = 0; ok = 0; thr[me]-- }
	}
}

/* ---- who reads the dead letters ---- */
proctype Undertaker(byte me) {
	byte f, g, n, d; short o; bool ok;
	do
	:: dhead < NDL && dslot[dhead] != 0 ->
		d_step { f = dslot[dhead] - 1; o = own[f]; g = GE(o) };
		assert(ST(o) == QUEUED && hreason[f] && hletter[f] && hcopy[f]);
		cas(f, o, WORD(TAKEN, me, g)); /* step: take.take */
		if
		:: ok ->
			dslot[dhead] = PASSED; /* step: take.empty */
			dhead++;
			arrived++;
			set(f, WORD(TAKEN, me, g), WORD(HELD, me, g));
			put(f, g)
		:: !ok          /* the sweeper made it its own: look again */
		fi;
		d_step { f = 0; g = 0; o = 0; ok = 0 }
	od
}

/* ---- somebody else, who takes a free frame, or a part of what is gone, and writes into it ---- */
#define STALE(w) (ST(w) == ATTACHED && (ST(own[HO(w)]) == FREE || ST(own[HO(w)]) == ATTACHED || GE(own[HO(w)]) != GE(w)))
#define MAYBE(x) (ST(own[x]) == FREE || STALE(own[x]))
proctype Other(byte me) {
	byte f, g, uses; short w, h; bool ok;
	do
	:: uses == USES -> break
	:: uses < USES ->
		if                                              /* it looks at one that is free, or may be */
		:: MAYBE(0) -> f = 0
		:: MAYBE(1) -> f = 1
#if NF > 2
		:: MAYBE(2) -> f = 2
#endif
		fi;
		w = own[f]; /* step: frame.look */
		ok = (ST(w) == FREE); g = GE(w);
		if
		:: ST(w) == ATTACHED ->
			h = own[HO(w)]; /* step: body.stale */
			ok = (ST(h) == FREE || ST(h) == ATTACHED || GE(h) != GE(w));
			g = hdet[f]
		:: else
		fi;
		if
		:: ok ->
			cas(f, w, WORD(HELD, me, g)); /* step: frame.hold */
			if
			:: ok ->
				d_step { hbody[f] = 0; hreason[f] = 0; hletter[f] = 0; hcopy[f] = 0 };
				set(f, WORD(HELD, me, g), WORD(FREE, 0, g + 1));
				uses++
			:: !ok
			fi
		:: !ok
		fi;
		d_step { f = 0; g = 0; w = 0; h = 0; ok = 0 }
	od
}

/* ---- the sweeper ---- */
#define CANMARK(h) (exited[h] && thr[h] == 0 && mark[h] == LIVE)

inline sweep_free() {
	cas(f, w, WORD(HELD, me, g)); /* step: sweep.free */
	if
	:: ok -> put(f, g); ok = 1
	:: !ok
	fi
}
inline step_taken() {
	cas(f, w, WORD(SETTLING, me, g)); /* step: sweep.settle */
	if
	:: ok && hreason[f] -> post(f, g); ok = 1
	:: ok && !hreason[f] ->
		drop_body(f, g); /* a copy */
		bury(f, g); ok = 1
	:: !ok
	fi
}

proctype Sweeper(byte me) {
	byte f, g, i, n, d; short w; bool cand[NF], inring[NF], ok, attached;
	{
	(me == S1 || mark[S1] == GONE);
	do
	:: d_step { CANMARK(C) -> mark[C] = DEAD } /* step: verdict.dead */
	:: mark[C] == DEAD ->
		f = 0;
		do                                                              /* Sweep (1) */
		:: d_step { f < NF -> cand[f] = (ST(own[f]) != FREE && ST(own[f]) != ATTACHED && !ALIVE(HO(own[f]))); f++ } /* step: sweep.candidate */
		:: f == NF -> break
		od;
		i = 0;
		do                                                              /* Sweep (2) */
		:: d_step { i < NDL -> if :: dslot[i] != 0 && dslot[i] != PASSED -> inring[dslot[i] - 1] = 1 :: else fi; i++ } /* step: sweep.ring */
		:: i == NDL -> break
		od;
		f = 0;
		do                                                              /* Sweep (3) */
		:: f == NF -> break
		:: f < NF && !cand[f] -> f++
		:: f < NF && cand[f] ->
			d_step { w = own[f]; g = GE(w); ok = 1 }; /* step: sweep.judge */
			if
			:: ST(w) == FREE || ST(w) == ATTACHED || ALIVE(HO(w))
			:: ST(w) == HELD && !ALIVE(HO(w)) -> sweep_free()
			:: ST(w) == QUEUED && !ALIVE(HO(w)) && inring[f] -> cas(f, w, WORD(QUEUED, me, g)) /* step: sweep.adopt */
			:: ST(w) == QUEUED && !ALIVE(HO(w)) && !inring[f] ->
				assert(hreason[f]);                     /* all that is queued here was accepted once */
				cas(f, w, WORD(SETTLING, me, g)); /* step: sweep.rebury */
				if :: ok -> post(f, g) :: !ok fi
			:: (ST(w) == TAKEN || ST(w) == SETTLING) && !ALIVE(HO(w)) -> step_taken()
			:: ST(w) == LENT && !ALIVE(HO(w)) ->
				attached = (hbody[f] != 0 && own[hbody[f] - 1] == PART(f, g)); /* step: copy.attached */
				if
#ifndef MUT_LENT_FORGOTTEN
				:: attached || !HAS_A(w) -> step_taken()
				:: !attached && HAS_A(w) -> sweep_free()
#else
				:: !HAS_A(w) -> step_taken()
				:: HAS_A(w) -> sweep_free()
#endif
				fi
			fi;
			d_step { if :: ok -> cand[f] = 0; inring[f] = 0; f++ :: else fi; w = 0; g = 0; ok = 0; attached = 0 }
		od;
		f = 0;
		do                                                              /* parts of what is gone */
		:: f == NF -> break
		:: f < NF ->
			w = own[f]; /* step: sweep.candidate */
			if
			:: STALE(w) -> /* step: body.stale */
				g = hdet[f];
				cas(f, w, WORD(HELD, me, GE(w))); /* step: body.reclaim */
				if :: ok -> set(f, WORD(HELD, me, GE(w)), WORD(FREE, 0, g)) :: !ok fi /* step: frame.free */
			:: else
			fi;
			d_step { f++; w = 0; g = 0; ok = 0 }
		od;
		f = 0;
		d_step {                                                        /* Sweep (5) */
			i = 0;
			do :: i < NF -> cand[i] = 0; inring[i] = 0; i++ :: else -> break od;
			i = 0; mark[C] = GONE; /* step: verdict.gone */
			if :: me == S2 -> mark[S1] = GONE :: else fi
		}
	od
	} unless {
		d_step { me == S1 && exited[S1] -> mark[S1] = GONE; f = 0; i = 0; g = 0; w = 0; n = 0; d = 0; ok = 0; attached = 0;
			do :: i < NF -> cand[i] = 0; inring[i] = 0; i++ :: else -> break od; i = 0 }
	}
}

proctype Killer() {
	do
	:: d_step { kc > 0 && !exited[C] -> exited[C] = 1; kc-- } /* step: kernel.kill */
	:: d_step { ks > 0 -> exited[S1] = 1; ks-- }
	od
}

/* Quiescence: nothing else can move. */
proctype Monitor() {
	byte i;
	timeout;
	if
	:: kc == 0 ->
	d_step {
		assert(exited[C] || thr[C] == 0);                       /* nobody of C is blocked */
		assert(handled + arrived >= 1);                         /* never none */
		assert(handled + arrived <= 1);                         /* never two */
		assert(!(handled && fenced));
		assert(counted >= arrived && (exited[C] || counted == arrived));
		i = 0;
		do
		:: i < NF -> assert(ST(own[i]) == FREE); i++            /* freed, and by set() each time once */
		:: else -> break
		od
	}
	:: else
	fi
}

init {
	atomic {
		if :: kc = 0 :: KC > 0 -> kc = 1 fi;
		if :: ks = 0 :: KS > 0 -> ks = 1 fi;
		own[0] = WORD(TAKEN, C, 0); hcopy[0] = 1;
		run Monitor();
		run Killer();
		run Sweeper(S1);
#if KS
		run Sweeper(S2);
#endif
		run Undertaker(DL);
		run Other(X);
		thr[C]++; run Handler(C);
		thr[C]++; run Fence(C);
	}
}
