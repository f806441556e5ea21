/*
 * The one-way message: from a sender's frame through a ring of two slots to the consumer, with full rings, close, dead letters.
 *
 * Numbers in comments are the steps 1 to 16 of the first table in ../protocol.md; "Sweep (3)" is a step of the sweep there.
 * Every access to a shared word is one step. A process may die between any two steps of any of its threads (Killer).
 * What README.md in this folder says about the abstractions holds for this file; -DMUT_... makes one deliberate mistake.
 */

#ifndef NF
#define NF 2                    /* frames */
#endif
#ifndef NP
#define NP 1                    /* senders, each a process of its own */
#endif
#ifndef NMSG
#define NMSG 1                  /* messages of each */
#endif
#ifndef KP
#define KP 0                    /* deaths of the first sender */
#endif
#ifndef KC
#define KC 0                    /* deaths of consumers */
#endif
#ifndef KS
#define KS 0                    /* 1: the sweeper is cut off once, anywhere, and another begins again */
#endif
#ifndef PARK
#define PARK 0                  /* 1: an idle consumer parks (15, 16); 0: it looks for ever */
#endif
#ifndef ROOM
#define ROOM 0                  /* 1: a sender waits for room; 0: it gives up when the ring is full */
#endif
#ifndef CLOSE
#define CLOSE 0                 /* 1: the consumer may close the mailbox between two messages; 2: only a successor closes, before it looks */
#endif
#ifndef REOPEN
#define REOPEN 0                /* 1: after the close the mailbox may be used again */
#endif
#ifndef PANIC
#define PANIC 0                 /* 1: a handler may panic: dead letter */
#endif
#define N 2

#define FREE 0
#define HELD 1
#define QUEUED 2
#define TAKEN 3
#define SETTLING 4
#define ST(w) ((w) & 15)
#define HO(w) (((w) >> 4) & 15)
#define GE(w) ((w) >> 8)
#define WORD(s, h, g) ((s) | ((h) << 4) | ((g) << 8))

#define P1 1
#define P2 2
#define C1 3
#define C2 4
#define C3 5
#define DL 6                    /* who reads the dead letters; never dies */
#define S1 7
#define S2 8
#define NH 9

#define LIVE 0
#define DEAD 1
#define GONE 2
#define ALIVE(h) (mark[h] == LIVE)

/* Slot word: lap | full 1 | frame 3. */
#define EMPTYW(lap) ((lap) << 4)
#define FULLW(lap, f) (((lap) << 4) | 8 | (f))
#define ISFULL(w) (((w) & 8) != 0)
#define FRAME(w) ((w) & 7)
#define LAP(w) ((w) >> 4)

#define NID (NP * NMSG)
#define NDL (NID + 1)
#define PASSED 255

/* ---- the segment ---- */
short own[NF]; byte hmb[NF], hinc[NF], hmsg[NF]; bool hreason[NF];      /* hmb: 1 this mailbox, 2 dead letters */
byte slot[N], tail, head; bool closed; byte inc = 1;            /* closed and inc are one word */
byte cword; bool cparked;       /* the consumer word: process and parked bit, always accessed together */
byte room;                      /* bit h: process h waits for room */
byte dslot[NDL], dtail, dhead;  /* the dead-letter ring; its steps 4 to 7 are one step here */
byte mark[NH];
byte bell[NH]; bool sleeping[NH], ready[NH], lookall[NH];

/* ---- the kernel, and what is private to a process ---- */
bool exited[NH]; byte thr[NH]; bool futexq[NH], lwake[NH];

/* ---- ghosts ---- */
bool published[NID + 1], rejected[NID + 1], delivered[NID + 1], owed[NID + 1], buried[NID + 1], indoubt[NID + 1];
bool done[NH]; byte last[3];
byte kp, kc, ks;

inline cas(x, old, new) {
	d_step { ok = (own[x] == (old)); if :: ok -> own[x] = (new) :: else fi }
}
inline cas_slot(p, old, new) {
	d_step { ok = (slot[(p) % N] == (old)); if :: ok -> slot[(p) % N] = (new) :: else fi }
}

/* The bell of process h: only if its waiter announced sleep. */
inline ring(h) {
	if
	:: sleeping[h] -> bell[h]++; futexq[h] = 0 /* step: bell.sleeping, bell.ring, bell.wake */
	:: !sleeping[h]
	fi
}

/* ---- the waiter of process me: 16 ---- */
proctype Waiter(byte me) {
	byte v; bool got;
	{
	(me != C2 || mark[C1] == GONE);
	(me != C3 || mark[C2] == GONE);
	do
	::
#ifndef MUT_BELL_LATE
		v = bell[me];                                                   /* 16 */ /* step: waiter.bell */
#endif
		sleeping[me] = 1; /* step: waiter.announce */
#ifndef MUT_NO_LOOK_16
		d_step { got = ready[me]; ready[me] = 0 }; /* step: waiter.second-look, waiter.ready */
		d_step { got = got || lookall[me]; lookall[me] = 0 }; /* step: waiter.second-look, waiter.everything */
#endif
#ifdef MUT_BELL_LATE
		v = bell[me];
#endif
		if
		:: got -> d_step { got = 0; lwake[me] = 1 }
		:: !got -> d_step { futexq[me] = (bell[me] == v) }; !futexq[me] /* step: waiter.sleep */
		fi;
		sleeping[me] = 0; /* step: waiter.awake */
#ifdef MUT_NO_LOOK_16
		d_step { got = ready[me] || lookall[me]; ready[me] = 0; lookall[me] = 0;
			if :: got -> lwake[me] = 1 :: else fi; got = 0 };
#endif
		v = 0
	od
	} unless {
		d_step { exited[me] -> v = 0; got = 0; futexq[me] = 0; sleeping[me] = 0; thr[me]-- }
	}
}

/* ---- a sender ---- */
proctype Sender(byte me) {
	byte f, g, id, n, t, w, c, addr; bool ok, open;
	{
	do
	:: n == NMSG -> break
	:: n < NMSG ->
		atomic {                                                        /* 1 */
			if
			:: ST(own[0]) == FREE -> f = 0
			:: ST(own[1]) == FREE -> f = 1
#if NF > 2
			:: ST(own[2]) == FREE -> f = 2
#endif
#if NF > 3
			:: ST(own[3]) == FREE -> f = 3
#endif
			fi;
			g = GE(own[f]); own[f] = WORD(HELD, me, g); /* step: frame.hold */
			n++; id = (me - 1) * NMSG + n; addr = 1;
#if REOPEN
			if :: addr = 2 :: skip fi
#endif
		};
		d_step { assert(own[f] == WORD(HELD, me, g)); hmb[f] = 1; hinc[f] = addr; hreason[f] = 0; hmsg[f] = id };      /* 2 */ /* step: frame.fill */
queue:
		atomic { assert(own[f] == WORD(HELD, me, g)); own[f] = WORD(QUEUED, me, g) };           /* 3 */ /* step: push.queue */
		do
		::
#ifdef MUT_STATE_FIRST
			open = (!closed && inc == addr);
#endif
			t = tail;                                               /* 4 */ /* step: push.tail */
			w = slot[t % N]; /* step: push.slot */
#ifndef MUT_STATE_FIRST
			open = (!closed && inc == addr);                                         /* 5 */ /* step: push.state */
#endif
			if
			:: !open -> goto refused
			:: open
			fi;
			if
			:: w == EMPTYW(t / N) ->                                /* 6 */
				d_step { cas_slot(t, w, FULLW(t / N, f)); if :: ok -> published[id] = 1 :: else fi }; /* step: push.publish */
				if :: ok -> break :: !ok fi
			:: LAP(w) < t / N ->                                    /* 6: full */
				cas(f, WORD(QUEUED, me, g), WORD(HELD, me, g)); assert(ok); /* step: push.refused */
#if ROOM
				room = room | (1 << me); /* step: room.bit */
#ifndef MUT_ROOM_NO_LOOK
				if
				:: slot[t % N] != w -> goto queue /* step: room.second-look */
				:: slot[t % N] == w
				fi;
#endif
				atomic { lwake[me] -> lwake[me] = 0 };
				goto queue
#else
				goto unsent
#endif
			:: else ->                                              /* 6: tail lags */
				d_step { if :: tail == t -> tail = t + 1 :: else fi } /* step: push.help */
			fi
		od;
		atomic { if :: tail == t -> tail = t + 1 :: else fi };         /* 7 */ /* step: push.advance */
#if PARK
		do                                                              /* 8 */
		:: c = cword * 2 + cparked; /* step: signal.look */
			if
			:: c % 2 == 1 -> ready[c / 2] = 1; ring(c / 2) /* step: bell.ready */
			:: c % 2 == 0
			fi;
#ifdef MUT_NO_RELOAD_8
			break
#else
			if :: cword == c / 2 -> break :: cword != c / 2 fi /* step: signal.again */
#endif
		od;
#endif
		goto next;
refused:                                                                        /* 5: closed */
		cas(f, WORD(QUEUED, me, g), WORD(HELD, me, g)); assert(ok); /* step: push.refused */
unsent:
		atomic { own[f] = WORD(FREE, 0, g + 1); rejected[id] = 1 }; /* step: frame.free */
next:
		atomic { f = 0; g = 0; id = 0; t = 0; w = 0; c = 0; addr = 0; ok = 0; open = 0 }
	od;
	atomic { n = 0; done[me] = 1; thr[me]-- }
	} unless {
		d_step { exited[me] -> f = 0; g = 0; id = 0; n = 0; t = 0; w = 0; c = 0; addr = 0; ok = 0; open = 0; thr[me]-- }
	}
}

/* 9: takes the frame of a full slot w. ok says whether the frame was this mailbox's. */
inline take(w0) {
	do
	:: d_step { f = FRAME(w0); o = own[f]; g = GE(o) }; /* step: take.owner */
		if
		:: hmb[f] == 1 && (ST(o) == QUEUED || (ST(o) == TAKEN && !ALIVE(HO(o)))) ->
			cas(f, o, WORD(TAKEN, me, g)); /* step: take.take */
			if :: ok -> assert(published[hmsg[f]] && hinc[f] == inc); break :: !ok fi
		:: else ->
#ifndef MUT_CLOSE_SETTLE_FIRST
#ifndef MUT_NO_RINGS
			assert(false);  /* no full slot is ever stale */
#endif
#endif
			ok = 0; break
		fi
	od
}

/* 12 */
inline give_room() {
#if ROOM
	if
	:: room != 0 -> /* step: room.look */
#ifdef MUT_ROOM_LATE
		rb = room;
#else
		d_step { rb = room; room = 0 }; /* step: room.clear */
#endif
		if :: rb & (1 << P1) -> wake_for_room(P1) :: else fi;
#if NP > 1
		if :: rb & (1 << P2) -> wake_for_room(P2) :: else fi;
#endif
#ifdef MUT_ROOM_LATE
		room = 0;
#endif
		rb = 0
	:: room == 0
	fi
#else
	skip
#endif
}
inline wake_for_room(h) {
#ifndef MUT_ROOM_BARE_BELL
	ready[h] = 1; /* step: bell.ready */
#endif
	ring(h)
}

/* The holder of a message turns it into a dead letter. */
inline bury() {
	d_step { assert(own[f] == WORD(TAKEN, me, g)); own[f] = WORD(SETTLING, me, g) }; /* step: letter.settling */
	letter()
}
inline letter() {
	d_step { assert(own[f] == WORD(SETTLING, me, g)); hreason[f] = 1; hmb[f] = 2; owed[hmsg[f]] = 1 }; /* step: letter.header */
	d_step { assert(own[f] == WORD(SETTLING, me, g)); own[f] = WORD(QUEUED, me, g) }; /* step: letter.queue */
	d_step { dslot[dtail] = f + 1; dtail++ } /* step: letter.publish */
}

/* ---- the consumer, and the closer ---- */
proctype Consumer(byte me; byte before) {
	byte f, g, w, h, i, rb; short o; bool ok;
	{
	(before == 0 || mark[before] == GONE);                                  /* a new consumer starts after the sweep */
	d_step { cword = me; cparked = 0 }; /* step: park.owner */
	if
	:: closed -> goto close                                                 /* a close that was cut off is begun again */
	:: CLOSE == 2 && before != 0 -> goto close
	:: !closed
	fi;
serve:
	do
	:: w = slot[head % N]; /* step: take.slot */
		if
		:: LAP(w) > head / N ->                                         /* 11, next life */
#ifdef MUT_TRUST_HEAD
			false
#else
			head++ /* step: head.skip */
#endif
		:: w == EMPTYW(head / N) ->
			if
			:: CLOSE == 1 -> goto close
			:: skip
			fi;
#if PARK
			cparked = 1;                                            /* 15 */ /* step: park.announce */
#ifdef MUT_NO_LOOK_15
			ok = 1;
#else
			ok = (slot[head % N] == w); /* step: park.second-look */
#endif
			if
			:: ok -> atomic { lwake[me] -> lwake[me] = 0 }
			:: !ok
			fi;
			cparked = 0 /* step: park.end */
#else
			slot[head % N] != w
#endif
		:: ISFULL(w) && LAP(w) == head / N ->
			if
			:: CLOSE == 1 -> goto close
			:: skip
			fi;
#ifdef MUT_EMPTY_FIRST
			cas_slot(head, w, EMPTYW(head / N + 1));
			take(w);
#else
			take(w);                                                /* 9 */
			atomic { assert(slot[head % N] == w); slot[head % N] = EMPTYW(head / N + 1) };          /* 10 */ /* step: take.empty */
#endif
			head++;                                                 /* 11 */ /* step: take.head */
			give_room();                                            /* 12 */
			if
			:: ok ->
				d_step {                                        /* 13 */
					assert(own[f] == WORD(TAKEN, me, g));
					assert(!delivered[hmsg[f]] && !buried[hmsg[f]]);
					assert(last[(hmsg[f] - 1) / NMSG] < hmsg[f]);          /* order per sender */
					last[(hmsg[f] - 1) / NMSG] = hmsg[f];
					delivered[hmsg[f]] = 1; indoubt[hmsg[f]] = 1 /* step: handler.run */
				};
				if
				:: atomic { own[f] = WORD(FREE, 0, g + 1); indoubt[hmsg[f]] = 0 }       /* 14 */ /* step: frame.free */
				:: PANIC -> bury()
				fi
			:: !ok
			fi
		:: else -> assert(false)
		fi;
		atomic { f = 0; g = 0; w = 0; o = 0; ok = 0 }
	od;
close:
	closed = 1; /* step: close.state */
	i = 0;
#ifndef MUT_CLOSE_NO_SKIP
	do                                                                      /* 11, next life */
	:: i < N && LAP(slot[head % N]) > head / N -> head++; i++ /* step: head.skip */
	:: else -> break
	od;
#endif
	h = head; i = 0;
	do
	:: i == N -> break
	:: i < N ->
		w = slot[(h + i) % N]; /* step: close.slot */
		if
		:: LAP(w) > (h + i) / N -> i++
		:: w == EMPTYW((h + i) / N) ->
			cas_slot(h + i, w, EMPTYW((h + i) / N + 1)); /* step: close.empty */
			if :: ok -> i++ :: !ok fi
		:: ISFULL(w) && LAP(w) == (h + i) / N ->
			take(w);                                                /* 9 */
#ifdef MUT_CLOSE_SETTLE_FIRST
			if :: ok -> bury() :: !ok fi;
			atomic { assert(slot[(h + i) % N] == w); slot[(h + i) % N] = EMPTYW((h + i) / N + 1) };
#else
			atomic { assert(slot[(h + i) % N] == w); slot[(h + i) % N] = EMPTYW((h + i) / N + 1) };  /* 10 */ /* step: close.empty */
			bury();
#endif
			i++
		:: else -> assert(false)
		fi
	od;
	tail = h + N; /* step: close.tail */
	head = h + N; /* step: close.head */
#ifndef MUT_CLOSE_NO_ROOM
	give_room();                                                            /* 12 */
#endif
#if REOPEN
	if
	:: inc == 1 -> atomic { closed = 0; inc = 2; i = 0; h = 0; f = 0; g = 0; w = 0; o = 0; ok = 0 }; goto serve /* step: close.reopen */
	:: skip
	fi;
#endif
	atomic { f = 0; g = 0; w = 0; o = 0; ok = 0; h = 0; i = 0; rb = 0; done[me] = 1; thr[me]-- }
	} unless {
		d_step { exited[me] -> f = 0; g = 0; w = 0; o = 0; ok = 0; h = 0; i = 0; rb = 0; thr[me]-- }
	}
}

/* ---- who reads the dead letters ---- */
proctype Undertaker(byte me) {
	byte f, g; bool ok; short o;
	do
	:: dhead < NDL && dslot[dhead] != 0 ->
		d_step { f = dslot[dhead] - 1; o = own[f]; g = GE(o) };
		assert(ST(o) == QUEUED && hmb[f] == 2 && hreason[f]);
		cas(f, o, WORD(TAKEN, me, g));                                  /* 9 */
		if
		:: ok ->
			dslot[dhead] = PASSED; dhead++;                         /* 10, 11 */
			d_step { assert(published[hmsg[f]] && !buried[hmsg[f]]); buried[hmsg[f]] = 1 };
			own[f] = WORD(FREE, 0, g + 1)                           /* 14 */
		:: !ok          /* the sweeper made it its own: look again */
		fi;
		atomic { f = 0; g = 0; o = 0; ok = 0 }
	:: dhead < NDL && dslot[dhead] == PASSED -> dhead++
	od
}

/* ---- the sweeper ---- */
#define CANMARK(h) (exited[h] && thr[h] == 0 && mark[h] == LIVE)
inline must_mark(h) { d_step { CANMARK(h) -> mark[h] = DEAD } } /* step: verdict.dead */

#ifdef MUT_NO_RINGS
#define SPARED(x) false
#else
#define SPARED(x) inring[x]
#endif

#ifdef MUT_SWEEP_NO_RING
#define wake_all(h) lookall[h] = 1
#else
#define wake_all(h) lookall[h] = 1; bell[h]++; futexq[h] = 0
#endif

inline sweep_free() {
	cas(f, o, WORD(HELD, me, g)); /* step: sweep.free */
	if :: ok -> own[f] = WORD(FREE, 0, g + 1) :: !ok fi /* step: frame.free */
}

proctype Sweeper(byte me) {
	byte f, g, i; short o; short cand[NF]; bool inring[NF], ok;
	{
	(me == S1 || mark[S1] == GONE);
	do
	:: must_mark(P1)
	:: must_mark(C1)
	:: must_mark(C2)
	:: mark[P1] == DEAD || mark[C1] == DEAD || mark[C2] == DEAD ->
		f = 0;
		do                                                              /* Sweep (1) */
		:: d_step { f < NF -> cand[f] = own[f]; inring[f] = 0; f++ } /* step: sweep.candidate */
		:: f == NF -> break
		od;
		i = 0;
		do                                                              /* Sweep (2) */
		:: d_step { i < N -> if :: ISFULL(slot[i]) -> inring[FRAME(slot[i])] = 1 :: else fi; i++ } /* step: sweep.ring */
		:: d_step { i >= N && i < N + NDL -> if :: dslot[i - N] != 0 && dslot[i - N] != PASSED -> inring[dslot[i - N] - 1] = 1 :: else fi; i++ }
		:: i == N + NDL -> break
		od;
		f = 0; i = 0;
		do                                                              /* Sweep (3) */
		:: f < NF ->
			o = cand[f]; g = GE(o);
			if
			:: ST(o) == HELD && !ALIVE(HO(o)) -> sweep_free()
			:: (ST(o) == QUEUED || ST(o) == TAKEN) && !ALIVE(HO(o)) && SPARED(f) ->         /* it stays, and changes hands */
				cas(f, o, WORD(QUEUED, me, g)) /* step: sweep.adopt */
			:: ST(o) == QUEUED && !ALIVE(HO(o)) && !SPARED(f) ->
				if
#ifndef MUT_DL_FREED
				:: hreason[f] && hmb[f] == 2 ->         /* accepted once: published again */
#ifdef MUT_DL_NO_CAS
					d_step { dslot[dtail] = f + 1; dtail++ }
#else
					cas(f, o, WORD(SETTLING, me, g)); /* step: sweep.rebury */
					if :: ok -> letter() :: !ok fi
#endif
#endif
				:: else -> sweep_free()
				fi
			:: (ST(o) == TAKEN && !SPARED(f) || ST(o) == SETTLING) && !ALIVE(HO(o)) ->
				cas(f, o, WORD(SETTLING, me, g)); /* step: sweep.settle */
				if :: ok -> letter() :: !ok fi
			:: else
			fi;
			atomic { cand[f] = 0; inring[f] = 0; f++; o = 0; g = 0; ok = 0 }
		:: f == NF -> f = 0; break
		od;
#ifndef MUT_SWEEP_NO_WAKE
#if PARK                                                                        /* Sweep (4) */
		wake_all(C1); /* step: sweep.alarm, bell.everything */
#if KC > 0
		wake_all(C2);
#endif
#if KC > 1
		wake_all(C3);
#endif
#endif
#if ROOM
		wake_all(P1);
#if NP > 1
		wake_all(P2);
#endif
#endif
#endif
		atomic {                                                        /* Sweep (5) */
			i = 0;
			do :: i < NH -> if :: mark[i] == DEAD -> mark[i] = GONE :: else fi; i++ :: else -> break od; /* step: verdict.gone */
			i = 0
		}
	od
	} unless {
		d_step { me == S1 && exited[S1] -> mark[S1] = GONE; f = 0; i = 0; g = 0; o = 0; ok = 0;
			do :: i < NF -> cand[i] = 0; inring[i] = 0; i++ :: else -> break od; i = 0 }
	}
}

proctype Killer() {
	do
	:: d_step { kp > 0 && !exited[P1] -> exited[P1] = 1; kp-- } /* step: kernel.kill */
	:: d_step { kc > 0 && !exited[C1] -> exited[C1] = 1; kc-- }
	:: d_step { kc > 0 && !exited[C2] && mark[C1] == GONE -> exited[C2] = 1; kc-- }
	:: d_step { ks > 0 -> exited[S1] = 1; ks-- }
	od
}

/* Quiescence: nothing else can move. */
proctype Monitor() {
	byte i;
	timeout;
	if
	:: kp + kc == 0 ->
	d_step {
		assert(exited[P1] || done[P1]);                 /* no live sender is blocked */
		assert(NP < 2 || done[P2]);
		i = 0;
		do
		:: i < N -> assert(!ISFULL(slot[i])); i++       /* every message was taken */
		:: else -> break
		od;
		i = 1;
		do
		:: i <= NID ->
			assert(!published[i] || delivered[i] || buried[i]);             /* none lost */
			assert(!owed[i] || buried[i]);                                  /* a dead letter arrives */
			assert(!(delivered[i] && buried[i]) || indoubt[i]);             /* both: it died in the handler, or panicked */
			assert(!rejected[i] || (!published[i] && !delivered[i] && !buried[i]));
			i++
		:: else -> break
		od;
		i = 0;
		do
		:: i < NF -> assert(ST(own[i]) == FREE); i++    /* no leak */
		:: else -> break
		od
	}
	:: else
	fi
}

init {
	atomic {
		if :: kp = 0 :: KP > 0 -> kp = 1 fi;
		if :: kc = 0 :: KC > 0 -> kc = 1 :: KC > 1 -> kc = 2 fi;
		if :: ks = 0 :: KS > 0 -> ks = 1 fi;
		run Monitor();
		run Killer();
		run Sweeper(S1);
#if KS
		run Sweeper(S2);
#endif
#if KC > 0 || PANIC || CLOSE
		run Undertaker(DL);
#endif
		thr[C1]++; run Consumer(C1, 0);
#if PARK
		thr[C1]++; run Waiter(C1);
#endif
#if KC > 0
		thr[C2]++; run Consumer(C2, C1);
#if PARK
		thr[C2]++; run Waiter(C2);
#endif
#endif
#if KC > 1
		thr[C3]++; run Consumer(C3, C2);
#if PARK
		thr[C3]++; run Waiter(C3);
#endif
#endif
		thr[P1]++; run Sender(P1);
#if ROOM
		thr[P1]++; run Waiter(P1);
#endif
#if NP > 1
		thr[P2]++; run Sender(P2);
#if ROOM
		thr[P2]++; run Waiter(P2);
#endif
#endif
	}
}
