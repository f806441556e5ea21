/*
 * Redelivery: the in-hand word in front of the ring, consumers that die or panic with a message in hand, and the sweep that spares it.
 *
 * R1 to R15 in comments are the steps of the section Redelivery in ../protocol.md; other numbers are those of its tables. Every access to a
 * shared word is one step, but for 4 to 7, which are one here. What README.md in this folder says about the abstractions holds for this
 * file; -DMUT_... makes one deliberate mistake.
 */

#ifndef NF
#define NF 2                    /* frames */
#endif
#ifndef NMSG
#define NMSG 2                  /* messages of the sender */
#endif
#ifndef MAXA
#define MAXA 2                  /* attempts */
#endif
#ifndef KP
#define KP 0                    /* deaths of the sender */
#endif
#ifndef KC
#define KC 0                    /* deaths of consumers */
#endif
#ifndef KS
#define KS 0                    /* 1: the sweeper is cut off once, anywhere, and another begins again */
#endif
#ifndef PANIC
#define PANIC 0                 /* 1: a handler may panic: the next life is in the same process */
#endif
#ifndef CLOSE
#define CLOSE 0                 /* 1: a successor may close the mailbox instead */
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
#define C1 2
#define C2 3
#define C3 4
#define S1 5
#define S2 6
#define NH 7

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

/* In-hand word: generation | attempts 3 | last 1 | set 1 | frame 2. */
#define HAND(f, g, a) (((g) << 7) | ((a) << 4) | (((a) >= MAXA) << 3) | 4 | (f))
#define HF(h) ((h) & 3)
#define HLAST(h) (((h) & 8) != 0)
#define HA(h) (((h) >> 4) & 7)
#define HG(h) ((h) >> 7)

/* ---- the segment ---- */
short own[NF]; byte hmsg[NF];
byte slot[N], tail, head; bool closed;
short hand;
byte mark[NH];

/* ---- the kernel ---- */
bool exited[NH]; byte thr[NH];

/* ---- ghosts ---- */
bool published[NMSG + 1], refused[NMSG + 1]; byte counted[NMSG + 1], begun[NMSG + 1], ended[NMSG + 1];
byte top;                       /* the latest message that was begun */
bool done[NH];
byte kp, kc, ks;

inline cas(x, old, new) {
	d_step { ok = (own[x] == (old)); if :: ok -> own[x] = (new) :: else fi }
}

/* ---- the sender ---- */
proctype Sender(byte me) {
	byte f, g, n; bool ok;
	{
	do
	:: n == NMSG -> break
	:: n < NMSG ->
		atomic {                                                        /* 1 */
			if
			:: ST(own[0]) == FREE -> f = 0
#if NF > 1
			:: ST(own[1]) == FREE -> f = 1
#endif
#if NF > 2
			:: ST(own[2]) == FREE -> f = 2
#endif
			fi;
			g = GE(own[f]); own[f] = WORD(HELD, me, g); n++
		};
		d_step { assert(own[f] == WORD(HELD, me, g)); hmsg[f] = n };   /* 2 */
		own[f] = WORD(QUEUED, me, g);                                   /* 3 */
		atomic {                                                        /* 4 to 7, waiting for room */
			closed || slot[tail % N] == EMPTYW(tail / N);
			if
			:: closed -> refused[n] = 1; own[f] = WORD(FREE, 0, g + 1)
			:: else -> slot[tail % N] = FULLW(tail / N, f); published[n] = 1; tail++
			fi
		};
		atomic { f = 0; g = 0 }
	od;
	atomic { n = 0; done[me] = 1; thr[me]-- }
	} unless {
		d_step { exited[me] -> f = 0; g = 0; n = 0; ok = 0; thr[me]-- }
	}
}

/* Takes f in generation g: from exactly queued, or from handled-by-a-dead-life. ok is false when it is neither. */
inline take() {
	do
	:: o = own[f];
		if
		:: GE(o) == g && (ST(o) == QUEUED || (ST(o) == TAKEN && !ALIVE(HO(o)))) ->
			cas(f, o, WORD(TAKEN, me, g));
			if :: ok -> break :: !ok fi
		:: else -> ok = 0; break
		fi
	od
}

/* A message that is in the hands of me ends as a dead letter; the ring of those is oneway.pml's. */
inline bury(enough) {
	own[f] = WORD(SETTLING, me, g);
	d_step { assert(enough); ended[hmsg[f]]++; own[f] = WORD(FREE, 0, g + 1) }
}

/* ---- the consumer, life after life, and the closer ---- */
proctype Consumer(byte me; byte before) {
	byte f, g, w, a, i; short o, h; bool ok, closing;
	{
	(before == 0 || mark[before] == GONE);                                  /* a new consumer starts after the sweep */
	if
	:: closed -> closing = 1                                                /* a close that was cut off is begun again */
	:: !closed && CLOSE && before != 0 -> closing = 1; closed = 1
	:: !closed
	fi;
life:
	do
	:: LAP(slot[head % N]) > head / N -> head++                             /* 11, next life */
	:: else -> break
	od;
#ifdef MUT_RING_FIRST
	if :: ISFULL(slot[head % N]) -> goto serve :: !ISFULL(slot[head % N]) fi;
#endif
#ifdef MUT_NO_RESUME
	goto serve;
#endif
	h = hand;                                                               /* R9 */
	if
	:: h == 0
#ifndef MUT_NO_R10
	:: h != 0 && slot[head % N] == FULLW(head / N, HF(h)) -> hand = 0       /* R10 */
	:: h != 0 && slot[head % N] != FULLW(head / N, HF(h)) ->
#else
	:: h != 0 ->
#endif
		f = HF(h);
#ifdef MUT_NO_GEN
		g = GE(own[f]);
#else
		g = HG(h);
#endif
		take();                                                         /* R11 */
		a = HA(h);
		if
		:: ok && closing -> hand = 0; bury(true)                        /* R14 */
		:: ok && !closing -> goto begin
		:: !ok -> hand = 0                                              /* R9: stale */
		fi
	fi;
serve:
	do
	:: closing && tail == head -> goto over
	:: w = slot[head % N];
		if
		:: w == EMPTYW(head / N) -> !closing && slot[head % N] != w
		:: w != EMPTYW(head / N) ->
			assert(ISFULL(w) && LAP(w) == head / N);
			d_step { f = FRAME(w); g = GE(own[f]) };
			take();                                                 /* R1 */
			assert(ok);                                             /* no slot is stale */
#ifndef MUT_WORD_LATE
			if :: !closing -> hand = HAND(f, g, 0) :: closing fi;   /* R2 */
#endif
			slot[head % N] = EMPTYW(head / N + 1);                  /* R3 */
#ifdef MUT_WORD_LATE
			if :: !closing -> hand = HAND(f, g, 0) :: closing fi;
#endif
			head++;
			a = 0;
			if
			:: closing -> bury(true); goto next
			:: !closing
			fi;
begin:
			if
			:: a >= MAXA -> hand = 0; bury(true); goto next         /* R12 */
			:: a < MAXA
			fi;
#ifndef MUT_COUNT_LATE
			d_step { a++; hand = HAND(f, g, a); counted[hmsg[f]]++; assert(counted[hmsg[f]] == a) };        /* R4 */
#endif
			d_step {                                                /* R5 */
				assert(own[f] == WORD(TAKEN, me, g));
				assert(published[hmsg[f]] && !ended[hmsg[f]]);
				assert(top <= hmsg[f]);                         /* in order */
				top = hmsg[f];
				begun[hmsg[f]]++; assert(begun[hmsg[f]] <= MAXA)
			};
#ifdef MUT_COUNT_LATE
			d_step { a++; hand = HAND(f, g, a); counted[hmsg[f]]++ };
#endif
			if
			:: PANIC && a < MAXA ->                                 /* R13 */
				own[f] = WORD(QUEUED, me, g);
				atomic { f = 0; g = 0; w = 0; a = 0; o = 0; h = 0; ok = 0 };
				goto life
			:: PANIC && a >= MAXA -> bury(true)
			:: d_step { skip };
#ifdef MUT_CLEAR_FIRST
				hand = 0;
#endif
				d_step { ended[hmsg[f]]++; own[f] = WORD(FREE, 0, g + 1) }      /* R7 */
			fi;
			d_step { if :: hand == HAND(f, g, a) -> hand = 0 :: else fi }    /* R8 */
		fi;
next:
		atomic { f = 0; g = 0; w = 0; a = 0; o = 0; h = 0; ok = 0 }
	od;
over:
	atomic { f = 0; g = 0; w = 0; a = 0; o = 0; h = 0; ok = 0; closing = 0; done[me] = 1; thr[me]-- }
	} unless {
		d_step { exited[me] -> f = 0; g = 0; w = 0; a = 0; o = 0; h = 0; ok = 0; closing = 0; thr[me]-- }
	}
}

/* ---- the sweeper ---- */
#define CANMARK(h) (exited[h] && thr[h] == 0 && mark[h] == LIVE)
inline must_mark(h) { d_step { CANMARK(h) -> mark[h] = DEAD } }

#ifdef MUT_SWEEP_FORGETS
#define NAMES(h, f, g) false
#else
#ifdef MUT_SPARE_NO_GEN
#define NAMES(h, f, g) ((h) != 0 && HF(h) == (f) && !HLAST(h))
#else
#define NAMES(h, f, g) ((h) != 0 && HF(h) == (f) && HG(h) == (g) && !HLAST(h))
#endif
#endif

proctype Sweeper(byte me) {
	byte f, g, i; short o, h; short cand[NF]; bool inring[NF], ok;
	{
	(me == S1 || mark[S1] == GONE);
	do
	:: must_mark(P1)
	:: must_mark(C1)
	:: must_mark(C2)
	:: mark[P1] == DEAD || mark[C1] == DEAD || mark[C2] == DEAD ->
		f = 0;
		do                                                              /* Sweep (1) */
		:: d_step { f < NF -> cand[f] = own[f]; inring[f] = 0; f++ }
		:: f == NF -> break
		od;
		i = 0;
		do                                                              /* Sweep (2) */
		:: d_step { i < N -> if :: ISFULL(slot[i]) -> inring[FRAME(slot[i])] = 1 :: else fi; i++ }
		:: i == N -> break
		od;
		h = hand;                                                       /* after the slots */
		f = 0; i = 0;
		do                                                              /* Sweep (3) */
		:: f < NF ->
			o = cand[f]; g = GE(o);
			if
			:: ST(o) == HELD && !ALIVE(HO(o)) -> cas(f, o, WORD(FREE, 0, g + 1))
			:: (ST(o) == QUEUED || ST(o) == TAKEN) && !ALIVE(HO(o)) && (inring[f] || NAMES(h, f, g)) -> cas(f, o, WORD(QUEUED, me, g))
			:: ST(o) == QUEUED && !ALIVE(HO(o)) && !inring[f] && !NAMES(h, f, g) -> cas(f, o, WORD(FREE, 0, g + 1))
			:: ((ST(o) == TAKEN && !inring[f] && !NAMES(h, f, g)) || ST(o) == SETTLING) && !ALIVE(HO(o)) ->
				cas(f, o, WORD(SETTLING, me, g));
				if
				:: ok -> d_step {                               /* dead letter: too many attempts, or a close was cut off */
						assert(counted[hmsg[f]] == MAXA || closed);
						ended[hmsg[f]]++; own[f] = WORD(FREE, 0, g + 1)
					}
				:: !ok
				fi
			:: else
			fi;
			atomic { cand[f] = 0; inring[f] = 0; f++; o = 0; g = 0; ok = 0 }
		:: f == NF -> f = 0; break
		od;
		atomic {                                                        /* Sweep (5) */
			i = 0; h = 0;
			do :: i < NH -> if :: mark[i] == DEAD -> mark[i] = GONE :: else fi; i++ :: else -> break od;
			i = 0
		}
	od
	} unless {
		d_step { me == S1 && exited[S1] -> mark[S1] = GONE; f = 0; i = 0; g = 0; o = 0; h = 0; ok = 0;
			do :: i < NF -> cand[i] = 0; inring[i] = 0; i++ :: else -> break od; i = 0 }
	}
}

proctype Killer() {
	do
	:: d_step { kp > 0 && !exited[P1] -> exited[P1] = 1; kp-- }
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
		i = 0;
		do
		:: i < N -> assert(!ISFULL(slot[i])); i++       /* every message was taken */
		:: else -> break
		od;
		i = 1;
		do
		:: i <= NMSG ->
			assert(ended[i] == published[i]);       /* each message ended, and once */
			assert(begun[i] <= counted[i]);         /* no attempt that was not counted */
			assert(!refused[i] || begun[i] == 0);
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
		thr[C1]++; run Consumer(C1, 0);
#if KC > 0
		thr[C2]++; run Consumer(C2, C1);
#endif
#if KC > 1
		thr[C3]++; run Consumer(C3, C2);
#endif
		thr[P1]++; run Sender(P1);
	}
}
