/*
 * Turns for room: processes that wait for room in a full mailbox, one that takes what it gets, and the receiver that gives the turn.
 *
 * The steps are those of "Nobody is passed for ever" in ../protocol.md. Every access to a shared word is one step, but 4 and 6 with 7 are two
 * here and 9 to 11 are one. The frame is left out, and so is the bell: who is given a ready bit wakes (oneway.pml has both). A process may die between any two steps of any of
 * its threads, or be stopped there and never go on. What README.md in this folder says about the abstractions holds for this file;
 * -DMUT_... makes one deliberate mistake.
 */

#ifndef NP
#define NP 2                    /* processes that wait */
#endif
#ifndef NMSG
#define NMSG 1                  /* messages of each of their threads */
#endif
#ifndef PAIR
#define PAIR 0                  /* 1: two threads of the first of them */
#endif
#ifndef GREEDY
#define GREEDY 2                /* messages of one that does not wait */
#endif
#ifndef GIVEUP
#define GIVEUP 0                /* 1: who waits in the first process may give up */
#endif
#ifndef KP
#define KP 0                    /* deaths of the first process */
#endif
#ifndef STOP
#define STOP 0                  /* 1: the first process may be stopped, and never goes on */
#endif
#ifndef KR
#define KR 0                    /* deaths of the receiver */
#endif
#ifndef LIMIT
#define LIMIT 2                 /* messages after which a turn that was not used goes on */
#endif
#ifndef BYPASS
#define BYPASS 0                /* 1: who is passed is counted */
#endif
#ifndef FINE
#define FINE 0                  /* 1: what JOIN holds together is a step each */
#endif
#if FINE
#define JOIN
#else
#define JOIN atomic
#endif
#define N 2

/* Processes are also the bits of line and room: 0 the greedy one, then those that wait. */
#define G 0
#define P1 1
#define P2 2
#define R 3                     /* the receiver's */
#define NB 3
#define NH 4
#define BIT(h) (1 << (h))

#define LIVE 0
#define DEAD 1
#define GONE 2

/* Slot word: lap | full 1. Turn word: position | process + 1, 2 bits; 0 for none. */
#define EMPTYW(lap) ((lap) << 1)
#define FULLW(lap) (((lap) << 1) | 1)
#define ISFULL(w) (((w) & 1) != 0)
#define LAP(w) ((w) >> 1)
#define TURN(h, pos) (((pos) << 2) | ((h) + 1))
#define OF(t, h) (((t) & 3) == (h) + 1)
#ifdef MUT_TURN_FOR_EVER
#define OVER(t) (((t) & 3) == 0)
#else
#define OVER(t) (((t) & 3) == 0 || head - ((t) >> 2) >= LIMIT)
#endif

/* ---- the segment ---- */
byte slot[N], tail, head, line, room, turn;
byte mark[NH]; bool ready[NH], everything[NH];

/* ---- private to a process: who waits there, in order; thread 0 and 1, + 1 ---- */
byte first[NH], second[NH]; bool wake[2 * NH];
#define ME (2 * me + k)

/* ---- the kernel, and ghosts ---- */
bool exited[NH], stopped[NH]; byte thr[NH], done[NH], kp, kr, ks;
byte next;                      /* the receiver's: who had the turn last */

#if BYPASS
byte given[NH * NH];            /* turns of another since a process is in line */
byte passed[NH];                /* messages received since a process is in line, and not given the turn */
bool slipped[2 * NH];           /* a thread took the last slot in the turn of another process */
#define MOSTPASSED ((NP - 1) * (LIMIT + 1) + 1)  /* each turn, and one receive at which it just ended */
inline not_in_line(h) {
	passed[h] = 0; given[h * NH] = 0; given[h * NH + 1] = 0; given[h * NH + 2] = 0
}
inline count_turn(b) {
	j = 0;
	do
	:: j < NB ->
		if
		:: j != b && (line & BIT(j)) && mark[j] == LIVE -> given[j * NH + b]++; assert(given[j * NH + b] <= 1)
		:: else
		fi;
		j++
	:: else -> break
	od;
	j = 0; not_in_line(b);
	do :: j < 2 * NH -> slipped[j] = 0; j++ :: else -> break od;
	j = 0
}
inline count_passed(h) {
	if
	:: (line & BIT(h)) && mark[h] == LIVE && !OF(turn, h) -> passed[h]++; assert(passed[h] <= MOSTPASSED)
	:: else
	fi
}
inline count_slip() {
	if
	:: turn != 0 && !OF(turn, me) && slot[(t + 1) % N] != EMPTYW((t + 1) / N) ->
		assert(!slipped[ME]);           /* once, when it had looked before the turn was given */
		slipped[ME] = 1
	:: else
	fi
}
#else
#define not_in_line(h) skip
#define count_turn(b) skip
#define count_passed(h) skip
#define count_slip() skip
#endif

/* Wakes those whose bits are set. */
inline wake_room(also) {
	JOIN {
		d_step { s = room | (also); room = 0 }; /* step: room.clear */
		d_step { ready[P1] = ready[P1] || (s & BIT(P1)); ready[P2] = ready[P2] || (s & BIT(P2)); s = 0 } /* step: bell.ready */
	}
}

/* Process me leaves the line, and gives back a turn that nobody there uses. */
inline pass_turn() {
	JOIN {
		d_step { line = line & (255 - BIT(me)); not_in_line(me) }; /* step: turn.leave */
		u = turn; /* step: turn.look */
		d_step { ok = (OF(u, me) && turn == u); if :: ok -> turn = 0 :: else fi; u = 0 } /* step: turn.pass */
	};
	if :: ok -> wake_room(0) :: else fi;
	ok = 0
}

/* 4 to 7 in two steps, so tail never lags; ok says whether it was accepted. */
inline publish() {
	do
	:: d_step { t = tail; ok = (slot[t % N] == EMPTYW(t / N)) }; /* step: push.tail, push.slot */
		if
		:: !ok -> break
		:: ok ->
#ifndef MUT_NO_SPARE
			JOIN {
				u = turn; /* step: turn.spare */
				d_step { ok = (u == 0 || OF(u, me) || slot[(t + 1) % N] == EMPTYW((t + 1) / N)); u = 0 } /* step: turn.next-slot */
			};
#endif
			if
			:: !ok -> break
			:: ok ->
				d_step { /* step: push.publish, push.advance */
					ok = (tail == t);
					if
					:: ok ->
						slot[t % N] = FULLW(t / N); tail = t + 1;
						count_slip(); not_in_line(me)
					:: else
					fi
				};
				if :: ok -> break :: !ok fi
			fi
		fi
	od;
	atomic { t = 0; u = 0 }
}

inline want_room() {
	JOIN {
		line = line | BIT(me); /* step: room.line */
		room = room | BIT(me) /* step: room.bit */
	}
}

/* ---- a thread that sends, and waits for room ---- */
proctype Sender(byte me; byte k) {
	byte n, t, u, s; bool ok, others;
	{
	do
	:: n == NMSG -> break
	:: n < NMSG ->
		ok = 0;
		if
		:: first[me] == 0 -> publish()
		:: first[me] != 0               /* who comes later does not pass those who wait */
		fi;
		if
		:: ok
		:: !ok ->
			d_step { if :: first[me] == 0 -> first[me] = k + 1; wake[ME] = 1 :: else -> second[me] = k + 1 fi };
			do
			:: d_step { wake[ME] || me == P2 && (ready[me] || everything[me]) -> wake[ME] = 0;
					if :: me == P2 -> ready[me] = 0; everything[me] = 0 :: else fi };
				want_room();
				publish(); /* step: room.second-look */
				if :: ok -> break :: !ok fi
			:: GIVEUP && me == P1 && !wake[ME] -> ok = 0; break
			od;
			skip;
			d_step { /* leaves, and wakes who is the first by that */
				if
				:: first[me] == k + 1 -> first[me] = second[me]; second[me] = 0;
					if :: first[me] != 0 -> wake[2 * me + first[me] - 1] = 1 :: else fi
				:: else -> second[me] = 0
				fi;
				others = (first[me] != 0); wake[ME] = 0
			};
			if
			:: !others -> pass_turn()
			:: others && ok ->
				want_room();
				u = turn; /* step: turn.look */
				d_step { if :: OF(u, me) && turn == u -> turn = 0 :: else fi; u = 0 } /* step: turn.end */
			:: others && !ok
			fi
		fi;
		atomic { n++; ok = 0; others = 0 }
	od;
	atomic { n = 0; done[me]++; if :: me == P2 -> run Waiter(P2) :: else -> thr[me]-- fi }
	} unless {
		(exited[me] || stopped[me]);
		d_step { exited[me] -> n = 0; t = 0; u = 0; s = 0; ok = 0; others = 0; thr[me]-- }
	}
}

/* ---- the waiter of a process; the bell is in oneway.pml ---- */
proctype Waiter(byte me) {
	byte u, s; bool ok, some;
	{
	do
	:: d_step { ready[me] -> ready[me] = 0; /* step: waiter.ready */
		some = (first[me] != 0); if :: some -> wake[2 * me + first[me] - 1] = 1 :: else fi };
		if
#ifndef MUT_UNUSED_KEPT
		:: !some -> pass_turn()
#endif
		:: else
		fi;
		some = 0
	:: d_step { everything[me] -> everything[me] = 0; /* step: waiter.everything */
		if :: first[me] != 0 -> wake[2 * me + first[me] - 1] = 1 :: else fi }
	od
	} unless {
		(exited[me] || stopped[me]);
		d_step { exited[me] -> u = 0; s = 0; ok = 0; some = 0; thr[me]-- }
	}
}

/* ---- one that takes what it gets ---- */
proctype Greedy(byte me; byte k) {
	byte n, t, u; bool ok;
	do
	:: n == GREEDY -> break
	:: n < GREEDY -> tail - head < N; publish(); atomic { n = n + ok; ok = 0 }
	od;
	done[me]++
}

/* ---- the receiver: 9 to 12 ---- */
proctype Receiver(byte life) {
	byte l, s, b, u, j; bool ok;
	(life == 0 || mark[R] == GONE);                 /* a new one starts after the sweep */
	d_step { next = 0; if :: life == 1 -> thr[R]++; mark[R] = LIVE; exited[R] = 0 :: else fi };
	{
	do
	:: d_step { slot[head % N] == FULLW(head / N) -> slot[head % N] = EMPTYW(head / N + 1); head++; /* step: take.empty */
			count_passed(P1); count_passed(P2) };
		JOIN {
			l = line; /* step: room.waiting */
			s = room /* step: room.look */
		};
		if
		:: l == 0 && s == 0
		:: l != 0 || s != 0 ->
			b = 255;
			u = turn; /* step: turn.given */
			if
			:: l != 0 && OVER(u) ->
				d_step {
#ifdef MUT_NOT_IN_TURN
					b = 0;
#else
					b = (next + 1) % NB;
#endif
					do :: (l & BIT(b)) != 0 -> break :: else -> b = (b + 1) % NB od;
				};
				d_step { /* step: turn.give */
					ok = (turn == u);
					if :: ok -> turn = TURN(b, head); next = b; count_turn(b) :: else fi
				};
				if
				:: !ok -> b = 255
#ifndef MUT_GIVEN_TO_THE_DEAD
				:: ok && mark[b] != LIVE -> /* step: turn.verdict */
					d_step { if :: turn == TURN(b, head) -> turn = 0 :: else fi; b = 255 } /* step: turn.revoke */
				:: ok && mark[b] == LIVE
#else
				:: ok
#endif
				fi
			:: else
			fi;
			if
			:: b != 255 || s != 0 ->
				if :: b == 255 -> b = 0 :: else -> b = BIT(b) fi;
				wake_room(b)
			:: else
			fi
		fi;
		atomic { l = 0; s = 0; b = 0; u = 0; ok = 0 }
	od
	} unless {
		d_step { exited[R] -> l = 0; s = 0; b = 0; u = 0; ok = 0; thr[R]-- }
	}
}

/* ---- the sweeper ---- */
proctype Sweeper() {
	byte s;
	do
	:: d_step { exited[P1] && thr[P1] == 0 && mark[P1] == LIVE -> mark[P1] = DEAD } /* step: verdict.dead */
	:: d_step { exited[R] && thr[R] == 0 && mark[R] == LIVE -> mark[R] = DEAD }
	:: mark[P1] == DEAD || mark[R] == DEAD ->
		d_step { line = 0; not_in_line(P1); not_in_line(P2) }; /* step: sweep.line */
#ifndef MUT_SWEEP_TURN
		turn = 0; /* step: sweep.turn */
#endif
		wake_room(0);
#ifndef MUT_SWEEP_NO_WAKE
		everything[P1] = 1; /* step: sweep.alarm, bell.everything */
		everything[P2] = 1;
#endif
		atomic { /* step: verdict.gone */
			if :: mark[P1] == DEAD -> mark[P1] = GONE :: else fi;
			if :: mark[R] == DEAD -> mark[R] = GONE :: else fi
		}
	od
}

proctype Killer() {
	do
	:: d_step { kp > 0 && !exited[P1] -> exited[P1] = 1; kp-- } /* step: kernel.kill */
	:: d_step { kr > 0 && !exited[R] -> exited[R] = 1; kr-- }
	:: d_step { ks > 0 && !stopped[P1] -> stopped[P1] = 1; ks-- }
	od
}

/* Quiescence: nothing else can move. */
proctype Monitor() {
	timeout;
	if
	:: kp + kr + ks == 0 ->
		d_step {
			assert(exited[P1] || stopped[P1] || done[P1] == 1 + PAIR);      /* nobody sleeps, there is room */
			assert(NP < 2 || done[P2] == 1);
			assert(tail == head);                                           /* all was received */
			assert(GREEDY == 0 || done[G] == 1);
			assert(turn == 0 || OF(turn, P1) && stopped[P1] && !exited[P1]) /* no turn is left with one that does not use it, or is dead */
		}
	:: else
	fi
}

init {
	atomic {
		if :: kp = 0 :: KP > 0 -> kp = 1 fi;
		if :: kr = 0 :: KR > 0 -> kr = 1 fi;
		if :: ks = 0 :: STOP > 0 -> ks = 1 fi;
		slot[0] = FULLW(0); slot[1] = FULLW(0); tail = N;       /* it is full */
		run Monitor();
		run Killer();
		run Sweeper();
		thr[R]++; run Receiver(0);
#if KR
		run Receiver(1);
#endif
		thr[P1]++; run Sender(P1, 0);
#if PAIR
		thr[P1]++; run Sender(P1, 1);
#endif
		thr[P1]++; run Waiter(P1);
#if NP > 1
		thr[P2]++; run Sender(P2, 0);   /* its waiter is the same thread, afterwards */
#endif
#if GREEDY
		run Greedy(G, 0);
#endif
	}
}
