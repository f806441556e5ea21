/*
 * The call: one frame carries the request there and the reply back.
 *
 * Numbers such as C4 and 10 in comments are the rows of the tables in ../protocol.md; "Sweep (3)" is a step of the sweep there.
 * Every access to a shared word is one step. A process may die between any two steps of any of its threads (Killer).
 * What README.md in this folder says about the abstractions holds for this file; -DMUT_... makes one deliberate mistake.
 */

#ifndef NF
#define NF 2                    /* frames */
#endif
#ifndef NCALLS
#define NCALLS 1                /* calls of the first life of the caller, one after the other */
#endif
#ifndef NCALLS2
#define NCALLS2 0               /* calls of its second life */
#endif
#ifndef KP
#define KP 0                    /* deaths of the caller's process */
#endif
#ifndef KC
#define KC 0                    /* deaths of the consumer's process */
#endif
#ifndef KD
#define KD 0                    /* deaths of the bearer, after C14 */
#endif
#ifndef KS
#define KS 0                    /* 1: the sweeper is cut off once, anywhere, and another begins again */
#endif
#ifndef GIVEUP
#define GIVEUP 0                /* 1: a call may be abandoned at any moment */
#endif
#ifndef DEFER
#define DEFER 0                 /* 1: a handler may answer later; 2: and two bearers carry the token; 3: every handler does so */
#endif
#ifndef DROP
#define DROP 0                  /* 1: a bearer may drop its token */
#endif
#ifndef FENCE
#define FENCE 0                 /* 1: a handler may be fenced once while it runs */
#endif
#ifndef BODY
#define BODY 0                  /* 1: a reply may need a second frame */
#endif
#ifndef PANIC
#define PANIC 0                 /* 1: a handler may panic */
#endif

/* The owner word: state 4 | A 1 | W 1 | reason 2 | holder 4 | generation. C is in every word here: all messages are calls. */
#define FREE 0
#define HELD 1
#define QUEUED 2
#define TAKEN 3
#define DEFERRED 4
#define REPLIED 5
#define FAILED 6
#define LENT 7
#define SETTLING 8
#define ATTACHED 9
#define A 16
#define W 32
#define R(n) ((n) << 6)
#define DIED 1
#define CRASHED 2
#define FENCED 3
#define ST(w) ((w) & 15)
#define RE(w) (((w) >> 6) & 3)
#define HO(w) (((w) >> 8) & 15)
#define GE(w) ((w) >> 12)
#define HAS(w, bit) (((w) & (bit)) != 0)
#define WORD(s, h, g) ((s) | ((h) << 8) | ((g) << 12))

/* A holder is a (process, life): P1 and P2 are two lives of one entry, so are C1, C2, C3. */
#define P1 1
#define P2 2
#define C1 3
#define C2 4
#define C3 5
#define D1 6
#define D2 7
#define S1 8
#define S2 9
#define NH 10

/* What the process table says of a life. A later life in the same entry makes an earlier one GONE as well. */
#define LIVE 0
#define DEAD 1
#define GONE 2
#define ALIVE(h) (mark[h] == LIVE)

#define NPOS (NCALLS + NCALLS2)
#define EMPTY 0
#define PASSED 255              /* emptied: the slot is in the next lap */

/* Tags of the payload: which call wrote it, and what it is. */
#define REPLY(id) (16 + (id))
#define TEXT(id) (32 + (id))
#define INBODY 64

/* ---- the segment ---- */
int own[NF];
byte hcaller[NF], hcall[NF], body[NF], sgen[NF], pay[NF];   /* header and payload; sgen: the own generation of an attached frame */
byte slot[NPOS], tail, head;    /* one position is one slot of one lap */
byte mark[NH];                  /* process table */
bool callbit, lookall, sleeping; byte bell;                 /* entry of the caller's process */

/* ---- the kernel, and what is private to a process ---- */
bool exited[NH];                /* the process was killed */
byte thr[NH];                   /* its threads that have not noticed yet */
bool futexq;                    /* the waiter is blocked in the futex */
bool lwake;                     /* the primitive that the caller's goroutine sleeps on */
byte inhand, inhandgen; bool fenced;                        /* run token of the first consumer */
bool scut;
chan tok = [4] of { byte, byte, byte };  /* tokens: frame, generation; the call's tag is a ghost */

/* ---- ghosts: only asserted on ---- */
bool published[NPOS + 1], handled[NPOS + 1], emptied[NPOS + 1], outcome[NPOS + 1];
bool done[NH]; byte cache[NH];
bool dtaken;
byte kp, kc, kd, ks, kf;

#define STALE(i) (ST(own[i]) == ATTACHED && (ST(own[HO(own[i])]) == ATTACHED || GE(own[HO(own[i])]) != GE(own[i])))
#define AVAIL(i) (ST(own[i]) == FREE || STALE(i))
#define NEXTGEN(i) (ST(own[i]) == FREE -> GE(own[i]) : sgen[i] + 1)

/* Step 1: any frame that is free, or attached to a message that is over. */
inline take_frame(x) {
	if
	:: AVAIL(0) -> x = 0
#if NF > 1
	:: AVAIL(1) -> x = 1
#endif
#if NF > 2
	:: AVAIL(2) -> x = 2
#endif
	fi;
	own[x] = WORD(HELD, me, NEXTGEN(x)) /* step: frame.hold */
}

inline cas(x, old, new) {
	d_step { ok = (own[x] == (old)); if :: ok -> own[x] = (new) :: else fi }
}

/* Who frees f frees its body first, by CAS from exactly the attached word. */
inline drop_body(x, g0) {
	if
	:: d_step { body[x] != 0 && own[body[x] - 1] == WORD(ATTACHED, x, g0) ->
		own[body[x] - 1] = WORD(FREE, 0, sgen[body[x] - 1] + 1) } /* step: body.drop */
	:: else
	fi
}

inline free_held(x, g0) {
	drop_body(x, g0);
	d_step { assert(own[x] == WORD(HELD, me, g0)); own[x] = WORD(FREE, 0, g0 + 1) } /* step: frame.free */
}

/* C6: the bit, then the bell if the waiter announced sleep. */
inline wake_caller() {
	callbit = 1; /* step: bell.call */
	if
	:: sleeping -> bell++; futexq = 0 /* step: bell.sleeping, bell.ring, bell.wake */
	:: !sleeping
	fi
}

/* C5 after word `left` was handed to hc. */
inline look_at_caller(left, g0) {
#ifndef MUT_NO_C5
	if
	:: !ALIVE(hc) -> /* step: reply.verdict */
		cas(f, left, WORD(HELD, me, g0)); /* step: reply.revoke */
		if :: ok -> free_held(f, g0) :: !ok fi
	:: ALIVE(hc)
	fi
#else
	skip
#endif
}

/* ---- the caller ---- */
proctype Caller(byte me; byte base; byte calls) {
	byte f, g, id, n; int w; bool ok, cached, patient;
	{
	(me == P1 || (mark[P1] == GONE && calls > 0));
	atomic { lwake = 0; thr[me]++; run Waiter(me) };
	do
	:: n == calls -> break
	:: n < calls ->
		atomic {
			n++; id = base + n;
			if :: patient = 1 :: GIVEUP -> patient = 0 fi;
		}
		if
		:: cached -> cached = 0; cache[me] = 0
		:: !cached -> atomic { take_frame(f); g = GE(own[f]) }             /* 1 */
		fi;
		d_step {                                                                /* 2 */
			assert(own[f] == WORD(HELD, me, g));
			hcaller[f] = me; hcall[f] = id; body[f] = 0; pay[f] = id /* step: frame.fill */
		};
		d_step { own[f] = WORD(QUEUED, me, g) };                                /* C1 (3) */ /* step: push.queue */
		d_step { slot[tail] = f + 1; tail++; published[id] = 1 };              /* C1 (4 to 8) */ /* step: push.publish */
		do
		:: d_step { w = own[f]; assert(GE(w) == g) }; /* step: call.watch */
			if
			:: w == (WORD(REPLIED, me, g)) ->                               /* C7 */
				if
				:: pay[f] == INBODY ->
					d_step {
						assert(body[f] != 0 && own[body[f] - 1] == WORD(ATTACHED, f, g));
						assert(pay[body[f] - 1] == REPLY(id))
					}
				:: else -> assert(pay[f] == REPLY(id))
				fi;
				goto settled
			:: ST(w) == FAILED ->                                           /* C7 */
				d_step {
					assert(HO(w) == me);
					if
					:: RE(w) == DIED -> assert(pay[f] == TEXT(id) && emptied[id])
					:: RE(w) == CRASHED -> assert(pay[f] == TEXT(id))
					:: RE(w) == FENCED
					fi
				};
				goto settled
			:: ST(w) == LENT ->                                             /* C17 */
#ifdef MUT_LENT_FREED
				cas(f, w, WORD(FREE, 0, g + 1));
#else
				cas(f, w, w | A); /* step: call.forget */
#endif
				if :: ok -> goto forgotten :: !ok fi
			:: else ->
				assert(ST(w) == QUEUED || ST(w) == TAKEN || ST(w) == DEFERRED || ST(w) == SETTLING);
				if
				:: !patient -> goto giveup
				:: skip
				fi;
				if
				:: HAS(w, W) -> ok = 1
				:: !HAS(w, W) ->                                        /* C8 */
#ifdef MUT_W_STORE
					own[f] = w | W; ok = 1
#else
					cas(f, w, w | W) /* step: call.waiting */
#endif
				fi;
				if
				:: ok ->
					if
					:: atomic { lwake -> lwake = 0 }
					:: !patient -> goto giveup
					fi
				:: !ok
				fi
			fi;
			goto next;
giveup:
			w = own[f];
			assert(GE(w) == g);
			if
			:: ST(w) == QUEUED || ST(w) == SETTLING || ST(w) == LENT ->
				cas(f, w, (w | A) & ~W);                                /* C9 */ /* step: call.abandon */
				if :: ok -> goto forgotten :: !ok -> goto giveup fi
			:: ST(w) == TAKEN ->
#ifdef MUT_ABANDON_TAKEN
				cas(f, w, WORD(HELD, me, g));
				if :: ok -> goto mine :: !ok -> goto giveup fi
#else
				cas(f, w, (w | A) & ~W);                                /* C9 */ /* step: call.abandon */
				if :: ok -> goto forgotten :: !ok -> goto giveup fi
#endif
			:: ST(w) == DEFERRED ->
				cas(f, w, WORD(HELD, me, g));                           /* C10 */ /* step: call.take-back */
				if :: ok -> goto mine :: !ok -> goto giveup fi
			:: else                                                         /* C11 */
			fi;
next:
		od;
settled:
		drop_body(f, g);
mine:
		atomic {
			if
			:: own[f] = WORD(FREE, 0, g + 1)                                /* C7: free */ /* step: frame.free */
#ifdef MUT_CACHE_GEN
			:: own[f] = WORD(HELD, me, g); cached = 1; cache[me] = f + 1
#else
			:: own[f] = WORD(HELD, me, g + 1); g = g + 1;                   /* C7: cache */ /* step: frame.keep */
				cached = 1; cache[me] = f + 1
#endif
			fi
		};
forgotten:
		atomic { assert(!outcome[id]); outcome[id] = 1; w = 0; id = 0 }
	od;
	atomic { done[me] = 1; thr[me]-- }
	} unless {
		d_step { exited[me] -> f = 0; g = 0; id = 0; n = 0; w = 0; ok = 0; cached = 0; patient = 0; thr[me]-- }
	}
}

/* The one waiter of the caller's process: 16. */
proctype Waiter(byte me) {
	byte v; bool got;
	{
	sleeping = 0;
	do
	:: v = bell;                                                                    /* 16 */ /* step: waiter.bell */
		sleeping = 1; /* step: waiter.announce */
#ifndef MUT_NO_LOOK
		d_step { got = callbit; callbit = 0 }; /* step: waiter.second-look, waiter.call */
		d_step { got = got || lookall; lookall = 0 }; /* step: waiter.second-look, waiter.everything */
#endif
		if
		:: got -> d_step { got = 0; lwake = 1 }
		:: !got -> d_step { futexq = (bell == v) }; !futexq /* step: waiter.sleep */
		fi;
		sleeping = 0; /* step: waiter.awake */
#ifdef MUT_NO_LOOK
		d_step { got = callbit || lookall; callbit = 0; lookall = 0; if :: got -> lwake = 1 :: else fi; got = 0 };
#endif
		v = 0
	od
	} unless {
		d_step { exited[me] -> v = 0; got = 0; futexq = 0; thr[me]-- }
	}
}

/* From TAKEN(me) to the caller: C4 or C15, with C12, C18, C5 and C6. */
inline settle(newstate) {
	do
	:: d_step { w = own[f] };
		if
		:: w == WORD(TAKEN, me, g) || w == (WORD(TAKEN, me, g) | W) ->
			cas(f, w, newstate);                                            /* C4, C15 */ /* step: reply.hand */
			if
			:: ok ->
#ifdef MUT_BODY_LATE
				if :: b != 0 -> attach() :: else fi;
#endif
				look_at_caller(newstate, g);                            /* C5 */
				if :: HAS(w, W) -> wake_caller() :: else fi;            /* C6 */
				break
			:: !ok
#ifdef MUT_C12_ANY
				; own[f] = WORD(FREE, 0, g + 1); break
#endif
			fi
		:: w == (WORD(TAKEN, me, g) | A) || w == (WORD(TAKEN, me, g) | A | W) ->
			cas(f, w, WORD(HELD, me, g));                                   /* C12 */ /* step: reply.late */
			assert(ok); free_held(f, g); break
		:: ST(w) == LENT && HO(w) == me && GE(w) == g ->                        /* C18 */
			if
			:: HAS(w, A) ->
				cas(f, w, WORD(HELD, me, g)); /* step: lend.drop */
				assert(ok); free_held(f, g); break
			:: !HAS(w, A) ->
				cas(f, w, WORD(FAILED, hc, g) | R(RE(w))); /* step: lend.fail */
				if
				:: ok ->
#ifndef MUT_C18_NO_C5
					look_at_caller(WORD(FAILED, hc, g) | R(RE(w)), g);
#endif
					break
				:: !ok
				fi
			fi
		:: else -> assert(false)        /* nobody else may leave a frame that is TAKEN(me) or LENT(me) */
		fi
	od
}

#define MINE(x, g0) ((ST(own[x]) == TAKEN || ST(own[x]) == LENT) && HO(own[x]) == me && GE(own[x]) == g0)

inline attach() {
	d_step { assert(MINE(f, g) || ST(own[f]) == REPLIED); body[f] = b }; /* step: body.name */
	d_step { assert(own[b - 1] == WORD(HELD, me, GE(own[b - 1])));
		sgen[b - 1] = GE(own[b - 1]); own[b - 1] = WORD(ATTACHED, f, g) } /* step: body.attach */
}

/* The reply, in the frame or in a second one. */
inline reply() {
	if
	:: d_step { assert(MINE(f, g)); pay[f] = REPLY(id) }
	:: BODY -> 
		if
		:: atomic { (AVAIL(0) || AVAIL(NF / 2) || AVAIL(NF - 1)) -> take_frame(b); b++ };
			d_step { assert(HO(own[b - 1]) == me); pay[b - 1] = REPLY(id) };
			d_step { assert(MINE(f, g)); pay[f] = INBODY };
#ifndef MUT_BODY_LATE
			attach()
#endif
		:: else -> d_step { assert(MINE(f, g)); pay[f] = REPLY(id) }
		fi
	fi;
	settle(WORD(REPLIED, hc, g))
}

/* ---- the consumer: one goroutine of process me; `second` is the one that follows a fenced one ---- */
proctype Consumer(byte me; byte before; bool second) {
	byte f, g, hc, b, id; int w; bool ok;
	{
	(before == 0 || mark[before] == GONE);                                          /* a new consumer starts after the sweep */
	do
	:: head < NPOS && slot[head] == PASSED -> head++                                /* 11, next life */ /* step: head.skip */
	:: head < NPOS && slot[head] != EMPTY && slot[head] != PASSED ->
		f = slot[head] - 1; /* step: take.slot */
#ifdef MUT_EMPTY_FIRST
		d_step { slot[head] = PASSED; emptied[hcall[f]] = 1 };
#endif
		do
		:: d_step { w = own[f]; g = GE(w) }; /* step: take.owner */
			if
			:: ST(w) == QUEUED || (ST(w) == TAKEN && !ALIVE(HO(w))) ->
#ifdef MUT_C3_HELD
				if
				:: HAS(w, A) -> cas(f, w, WORD(HELD, me, g))            /* C3, as HELD */
				:: !HAS(w, A) -> cas(f, w, WORD(TAKEN, me, g) | (w & W))
				fi;
#else
				cas(f, w, WORD(TAKEN, me, g) | (w & (A | W)));          /* C2, C3 (9) */ /* step: take.take */
#endif
				if
				:: ok -> assert(published[hcall[f]]); break
				:: !ok
				fi
#ifdef MUT_C3_HELD
			:: else -> w = A; goto stale                                    /* as the row says: stale, go to 10 */
#else
			:: else -> assert(false)                /* with C3 by way of TAKEN no full slot is ever stale */
#endif
			fi
		od;
stale:
#ifdef MUT_HANDLER_FIRST
		if
		:: !HAS(w, A) -> d_step { assert(!handled[pay[f]]); handled[pay[f]] = 1 }
		:: else
		fi;
#endif
#ifndef MUT_EMPTY_FIRST
		atomic { slot[head] = PASSED; emptied[hcall[f]] = 1 };                  /* 10 */ /* step: take.empty */
#endif
		head++;                                                                 /* 11 */ /* step: take.head */
		if
		:: HAS(w, A) ->
#ifndef MUT_C3_HELD
			d_step { assert(ST(own[f]) == TAKEN && HO(own[f]) == me && GE(own[f]) == g && HAS(own[f], A)); own[f] = WORD(HELD, me, g) };   /* C3 */
#endif
			if
			:: own[f] == WORD(HELD, me, g) -> free_held(f, g)
			:: else                         /* only MUT_C3_HELD comes here */
			fi
		:: !HAS(w, A) ->
			d_step {                                                        /* 13: the handler runs */ /* step: handler.run */
				assert(MINE(f, g));
				hc = hcaller[f]; id = hcall[f];
#ifndef MUT_HANDLER_FIRST
				assert(pay[f] == hcall[f] && !handled[pay[f]]);
				handled[pay[f]] = 1;
#endif
#if FENCE
				if :: !second -> inhand = f + 1; inhandgen = g :: else fi
#endif
			};
			if
			:: DEFER < 3 -> reply()
			:: PANIC ->
				d_step { assert(MINE(f, g)); pay[f] = TEXT(hcall[f]) };
				settle(WORD(FAILED, hc, g) | R(CRASHED))                /* C15 */
			:: DEFER ->
				do                                                      /* C13 */
				:: d_step { w = own[f] };
					if
					:: w == WORD(TAKEN, me, g) || w == (WORD(TAKEN, me, g) | W) ->
						cas(f, w, WORD(DEFERRED, me, g) | (w & W)); /* step: defer.defer */
						if
						:: ok ->
							tok!f,g,id; /* step: token.carry */
#if DEFER > 1
							if :: tok!f,g,id :: skip fi;
#endif
#ifndef MUT_C13_NO_C5
							/* C5 for a deferred frame: its caller may have died while it was TAKEN */
							if
							:: !ALIVE(hc) ->
								do
								:: d_step { w = own[f] };
									if
									:: ST(w) == DEFERRED && HO(w) == me && GE(w) == g ->
										cas(f, w, WORD(HELD, me, g)); /* step: defer.revoke */
										if :: ok -> free_held(f, g); break :: !ok fi
									:: else -> break
									fi
								od
							:: ALIVE(hc)
							fi;
#endif
							break
						:: !ok
						fi
					:: else -> settle(0); break     /* A: C12. LENT: C18. */
					fi
				od
			fi;
#if FENCE
			if :: !second -> inhand = 0 :: else fi;
			if :: !second && fenced -> break :: else fi
#endif
		fi;
		atomic { f = 0; g = 0; hc = 0; b = 0; id = 0; w = 0; ok = 0 }
	od;
	atomic { f = 0; g = 0; hc = 0; b = 0; id = 0; w = 0; ok = 0; thr[me]-- }
	} unless {
		d_step { exited[me] -> f = 0; g = 0; hc = 0; b = 0; id = 0; w = 0; ok = 0; thr[me]-- }
	}
}

/* The thread of c that fences a handler: first the run token, then the frame, then the next goroutine. */
proctype Fence(byte me) {
	byte f, g; int w; bool ok;
	{
	atomic { inhand != 0 && kf > 0 -> kf--; fenced = 1; f = inhand - 1; g = inhandgen };
	do
	:: d_step { w = own[f] };
		if
		:: w == WORD(TAKEN, me, g) || w == (WORD(TAKEN, me, g) | W) ->
			cas(f, w, WORD(LENT, me, g) | R(FENCED));                       /* C16 */ /* step: lend.lend */
			if
			:: ok -> if :: HAS(w, W) -> wake_caller() :: else fi; break     /* C6 */
			:: !ok
			fi
		:: else -> break                        /* replied, deferred, abandoned: nothing to lend */
		fi
	od;
	atomic { thr[me]++; run Consumer(me, 0, 1) };
	d_step { f = 0; g = 0; w = 0; ok = 0; thr[me]-- }
	} unless {
		d_step { exited[me] -> f = 0; g = 0; w = 0; ok = 0; thr[me]-- }
	}
}

/* ---- the bearers of tokens ---- */
proctype Bearer(byte me) {
	byte f, g, hc, b, id; int w; bool ok;
	{
	do
	:: tok?f,g,id ->
		if
		:: DROP -> goto dropped
		:: skip
		fi;
		do
		:: d_step { w = own[f] };
			if
			:: ST(w) == DEFERRED && GE(w) == g ->
				d_step { cas(f, w, WORD(TAKEN, me, g) | (w & W)); if :: ok && me == D1 -> dtaken = 1 :: else fi };   /* C14 */ /* step: defer.claim */
				if
				:: ok ->
					d_step { assert(MINE(f, g)); hc = hcaller[f] };
					reply();                                        /* C4 */
					break
				:: !ok
				fi
			:: else -> break                                                /* refused */
			fi
		od;
dropped:
		atomic { f = 0; g = 0; hc = 0; b = 0; id = 0; w = 0; ok = 0; if :: me == D1 -> dtaken = 0 :: else fi }
	od
	} unless {
		d_step { exited[me] -> f = 0; g = 0; hc = 0; b = 0; id = 0; w = 0; ok = 0; dtaken = 0; thr[me]-- }
	}
}

/* ---- the sweeper ---- */
#define CANMARK(h) (exited[h] && thr[h] == 0 && mark[h] == LIVE)

#ifdef MUT_SETTLING_FORGOTTEN
#define MUSTSETTLE(w) (ST(w) == TAKEN || ST(w) == DEFERRED)
#else
#define MUSTSETTLE(w) (ST(w) == TAKEN || ST(w) == DEFERRED || ST(w) == SETTLING)
#endif
#ifdef MUT_NO_RINGS
#define SPARED(x) false
#else
#define SPARED(x) inring[x]
#endif

inline must_mark(h) { d_step { CANMARK(h) -> mark[h] = DEAD } } /* step: verdict.dead */

/* First the frame, then its body and its word. */
inline sweep_free() {
	cas(f, w, WORD(HELD, me, g)); /* step: sweep.free */
	if :: ok -> free_held(f, g) :: !ok fi
}

/* A refused CAS: the word changed under the sweep, so it is read and judged again. */
inline again_unless_ok() {
#ifdef MUT_SWEEP_ONCE
	break
#else
	if :: ok -> break :: !ok -> w = own[f] fi /* step: sweep.judge */
#endif
}

proctype Sweeper(byte me) {
	byte f, i, g, hc; int w; int cand[NF]; bool inring[NF], ok, ww;
	{
	(me == S1 || mark[S1] == GONE);
	do
	:: must_mark(P1)
	:: must_mark(P2)
	:: must_mark(C1)
	:: must_mark(C2)
	:: must_mark(D1)
	:: mark[P1] == DEAD || mark[P2] == DEAD || mark[C1] == DEAD || mark[C2] == DEAD || mark[D1] == DEAD ->
		f = 0;
		do                                                                      /* Sweep (1) */
		:: d_step { f < NF -> cand[f] = own[f]; inring[f] = 0; f++ } /* step: sweep.candidate */
		:: f == NF -> break
		od;
		i = 0;
		do                                                                      /* Sweep (2) */
		:: d_step { i < NPOS -> if :: slot[i] != EMPTY && slot[i] != PASSED -> inring[slot[i] - 1] = 1 :: else fi; i++ } /* step: sweep.ring */
		:: i == NPOS -> break
		od;
		f = 0; i = 0;
		do                                                                      /* Sweep (3) */
		:: f < NF ->
			w = cand[f];
			do
			:: atomic { g = GE(w); hc = hcaller[f] };
				if
				:: (ST(w) == HELD || ST(w) == REPLIED || ST(w) == FAILED) && !ALIVE(HO(w)) ->  /* C21 */
					sweep_free();
					again_unless_ok()
				:: (ST(w) == QUEUED && inring[f] || ST(w) == TAKEN && SPARED(f)) && !ALIVE(HO(w)) ->   /* C21: it stays, and changes hands */
					if
					:: ALIVE(hc) -> cas(f, w, WORD(QUEUED, hc, g) | (w & (A | W))) /* step: sweep.adopt */
					:: !ALIVE(hc) -> cas(f, w, WORD(QUEUED, me, g) | A | (w & W)) /* step: sweep.adopt */
					fi;
					again_unless_ok()
				:: ST(w) == QUEUED && !ALIVE(HO(w)) && !inring[f] ->                            /* C21 */
					sweep_free();
					again_unless_ok()
				:: MUSTSETTLE(w) && !ALIVE(HO(w)) && !SPARED(f) && (HAS(w, A) || !ALIVE(hc)) ->  /* C19, C20, C22 */
					sweep_free();
					again_unless_ok()
#ifndef MUT_TAKEN_LEFT
				:: ST(w) == TAKEN && ALIVE(HO(w)) && !ALIVE(hc) && !HAS(w, A) ->                /* C21 */
					cas(f, w, w | A); /* step: sweep.abandon */
					again_unless_ok()
#endif
				:: MUSTSETTLE(w) && !ALIVE(HO(w)) && !SPARED(f) && !HAS(w, A) && ALIVE(hc) ->
					cas(f, w, WORD(SETTLING, me, g) | (w & (A | W)));                       /* C19, C20, C22 */ /* step: sweep.settle */
					if
					:: ok ->
						drop_body(f, g);
						d_step { assert(HO(own[f]) == me && ST(own[f]) == SETTLING); pay[f] = TEXT(hcall[f]) };
						do
						:: w = own[f];
							if
							:: HAS(w, A) || !ALIVE(hc) ->
								cas(f, w, WORD(HELD, me, g));
								if :: ok -> free_held(f, g); break :: !ok fi
							:: else ->
								ww = HAS(w, W);
								cas(f, w, WORD(FAILED, hc, g) | R(DIED)); /* step: sweep.fail */
								if
								:: ok -> if :: ww -> wake_caller() :: !ww fi; break     /* C6 */
								:: !ok
								fi
							fi
						od;
						break
					:: !ok ->
#ifdef MUT_SWEEP_ONCE
						break
#else
						w = own[f]
#endif
					fi
#ifndef MUT_DEFERRED_LEFT
				:: ST(w) == DEFERRED && ALIVE(HO(w)) && !ALIVE(hc) ->                           /* C21 */
					sweep_free();
					again_unless_ok()
#endif
				:: ST(w) == LENT && !ALIVE(HO(w)) && (HAS(w, A) || !ALIVE(hc)) ->               /* C20, C22 */
					sweep_free();
					again_unless_ok()
				:: ST(w) == LENT && !ALIVE(HO(w)) && !HAS(w, A) && ALIVE(hc) ->                 /* C20 */
					cas(f, w, WORD(FAILED, hc, g) | R(RE(w))); /* step: sweep.fail */
					again_unless_ok()
				:: ST(w) == LENT && ALIVE(HO(w)) && !ALIVE(hc) && !HAS(w, A) ->                 /* C21 */
					cas(f, w, w | A); /* step: sweep.abandon */
					again_unless_ok()
				:: else -> break
				fi
			od;
			atomic { cand[f] = 0; inring[f] = 0; f++; w = 0; g = 0; hc = 0; ok = 0; ww = 0 }
		:: f == NF -> f = 0; break
		od;
#ifndef MUT_NO_SWEEP_WAKE
		lookall = 1;                                                            /* Sweep (4) */ /* step: sweep.alarm, bell.everything */
		bell++;
		futexq = 0;
#endif
		atomic {                                                                /* Sweep (5) */
			i = 0;
			do :: i < NH -> if :: mark[i] == DEAD -> mark[i] = GONE :: else fi; i++ :: else -> break od; /* step: verdict.gone */
			i = 0
		}
	od
	} unless {
		d_step { me == S1 && scut -> mark[S1] = GONE; f = 0; i = 0; g = 0; hc = 0; w = 0; ok = 0; ww = 0;
			do :: i < NF -> cand[i] = 0; inring[i] = 0; i++ :: else -> break od; i = 0 }
	}
}

proctype Killer() {
	do
	:: d_step { kp > 0 && !exited[P1] -> exited[P1] = 1; kp-- } /* step: kernel.kill */
	:: d_step { kp > 0 && !exited[P2] && mark[P1] == GONE && NCALLS2 > 0 -> exited[P2] = 1; kp-- }
	:: d_step { kc > 0 && !exited[C1] -> exited[C1] = 1; kc-- }
	:: d_step { kc > 0 && !exited[C2] && mark[C1] == GONE && KC > 0 -> exited[C2] = 1; kc-- }
	:: d_step { kd > 0 && !exited[D1] && dtaken -> exited[D1] = 1; kd-- }
	:: d_step { ks > 0 -> scut = 1; ks-- }
	od
}

/* A call whose bearer dropped the token waits for its caller to give up; nothing else may hold it. */
#define UNANSWERED(i) (DROP && ST(own[i]) == DEFERRED && !exited[HO(own[i])] && !exited[hcaller[i]])
#define WAITS_FOR_BEARER (UNANSWERED(0) || UNANSWERED(NF - 1))

/* Quiescence: nothing else can move. */
proctype Monitor() {
	byte i;
	timeout;
	if
	:: kp + kc + kd == 0 ->     /* a death that never came leaves nothing to check that the run without it does not check */
	d_step {
		assert(exited[P1] || done[P1] || WAITS_FOR_BEARER);     /* no live caller is blocked */
		assert(NCALLS2 == 0 || !exited[P1] || exited[P2] || done[P2]);
		i = 0;
		do
		:: i < NPOS -> assert(slot[i] == EMPTY || slot[i] == PASSED); i++      /* what was queued was taken */
		:: else -> break
		od;
		i = 0;
		do
		:: i < NF ->                                    /* no leak */
			assert(ST(own[i]) == FREE
				|| (ST(own[i]) == HELD && !exited[HO(own[i])] && cache[HO(own[i])] == i + 1)
				|| STALE(i) || UNANSWERED(i));
			i++
		:: else -> break
		od
	}
	:: else
	fi
}

init {
	atomic {
		if :: kp = 0 :: KP > 0 -> kp = 1 :: KP > 1 -> kp = 2 fi;
		if :: kc = 0 :: KC > 0 -> kc = 1 :: KC > 1 -> kc = 2 fi;
		if :: kd = 0 :: KD > 0 -> kd = 1 fi;
		if :: ks = 0 :: KS > 0 -> ks = 1 fi;
		if :: kf = 0 :: FENCE > 0 -> kf = 1 fi;
		run Monitor();
		run Killer();
		run Sweeper(S1);
#if KS
		run Sweeper(S2);
#endif
		thr[C1]++; run Consumer(C1, 0, 0);
#if KC > 0
		thr[C2]++; run Consumer(C2, C1, 0);
#endif
#if KC > 1
		thr[C3]++; run Consumer(C3, C2, 0);
#endif
#if FENCE
		thr[C1]++; run Fence(C1);
#endif
#if DEFER
		thr[D1]++; run Bearer(D1);
#if DEFER > 1 || NCALLS + NCALLS2 > 1 || KD > 0
		thr[D2]++; run Bearer(D2);
#endif
#endif
#if NCALLS2
		thr[P2]++; run Caller(P2, NCALLS, NCALLS2);
#endif
		thr[P1]++; run Caller(P1, 0, NCALLS)
	}
}
