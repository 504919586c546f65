/*
 * A second opinion on the register core: members and coordinators of impl/register (Replica,
 * Coordinator, Operation), written again by hand for Spin: one slot, one view of three members, one
 * key, two coordinators with one call each.
 *
 * `model/src/register_twin.rs` explores the real members and coordinators in the same abstraction;
 * both must find exactly the same number of states and of transitions. README.md says what that means.
 *
 * What was asked stays on its way for ever: each ask may reach each member at any time, any number of
 * times, or never; its answer comes at once or never. Values are 1 and 2, by who puts them; the only
 * version that is ever made is 1. A ballot is 2 * round + coordinator; 0 is none.
 *
 * Bounds, all by -D:
 *   GETS     bit c is set when coordinator c's call is a get, else it is a put-if-absent
 *   RETRIES  how many rounds may be begun again
 *
 * Mutants, each must violate an assertion:
 *   MUTANT_FIRST          the first answer counts, not that of the highest ballot (with a get)
 *   MUTANT_NO_WRITE_BACK  what only some members have is answered (with a get)
 *   MUTANT_BELOW          a member accepts below what it has promised
 *   MUTANT_ONE            one member is a majority
 *
 * Witnesses, each must violate an assertion, since it says that something is never reached:
 *   WITNESS_BOTH          both calls have ended (with a get, or a retry)
 *   WITNESS_WRITE_BACK    a state is written back (with a get, or a retry)
 *   WITNESS_REFUSED       an awaited accept is refused
 *   WITNESS_ABSENT        a get finds nothing (with a get)
 *
 * One process, one d_step for each transition, also where it changes nothing. Whatever a coordinator
 * no longer remembers is zero.
 */

#if !defined(GETS) || !defined(RETRIES)
#error "register.pml: expected -DGETS= -DRETRIES="
#endif
#if RETRIES > 1
#error "register.pml: expected RETRIES from 0 to 1"
#endif

/* A read, and for each round a prepare and an accept. */
#define MOST (3 + 2 * RETRIES)
#define IS_GET(c) (((GETS) >> (c)) & 1)

/* ---- The members. ---- */

byte promise[3];
byte accepted[3]; /* the ballot, */
byte holds[3];    /* and the value */

/* ---- The coordinators. ---- */

#define IDLE 0
#define READ 1
#define PREPARE 2
#define ACCEPT 3
#define ENDED 4

byte pc[2];
byte round[2];    /* of the last ballot, or of a higher one that was met */
byte ballot[2];
bool bound[2];    /* an accept of the operation itself was sent */
byte answered[2]; /* a bit for each member */
byte refused[2];
byte found[2], found_value[2]; /* the highest ballot that was shown, and its value */
bool agreed[2];   /* all have shown the same ballot */
byte value[2], next[2]; /* of the accept */
byte kept[2], kept_found[2], kept_value[2]; /* the promise that is kept, and what was found with it */
byte outcome[2];  /* 1 for absence, or 1 plus the value */
bool late[2];     /* when it began the other had ended, with a value (REG-9) */
byte retries = RETRIES;

/* ---- What was asked, by coordinator. ---- */

byte asked[2];
byte ask_kind[2 * MOST], ask_ballot[2 * MOST], ask_value[2 * MOST], ask_next[2 * MOST];

#define HELD 1
#define PROMISED 2
#define ACCEPTED 3
#define REFUSED 4

/* Scratch inside one step; not part of the state. */
hidden byte i, reply, shown, shown_value, raised;

#ifdef MUTANT_ONE
#define MAJORITY(s) ((s) != 0)
#else
#define MAJORITY(s) ((s) == 3 || (s) == 5 || (s) == 6 || (s) == 7)
#endif

inline ask(c, kind, b, v, n) {
    i = (c) * MOST + asked[c];
    ask_kind[i] = kind;
    ask_ballot[i] = b;
    ask_value[i] = v;
    ask_next[i] = n;
    asked[c] = asked[c] + 1
}

inline forget(c) {
    answered[c] = 0;
    refused[c] = 0;
    found[c] = 0;
    found_value[c] = 0;
    agreed[c] = false;
    value[c] = 0;
    next[c] = 0
}

inline prepare(c) {
    forget(c);
    round[c] = round[c] + 1;
    ballot[c] = 2 * round[c] + c;
    agreed[c] = true;
    pc[c] = PREPARE;
    ask(c, PREPARE, ballot[c], 0, 0)
}

inline accept(c, v) {
    shown_value = v;
    forget(c);
    round[c] = round[c] + 1;
    value[c] = shown_value;
    next[c] = 2 * round[c] + c;
    pc[c] = ACCEPT;
    ask(c, ACCEPT, ballot[c], value[c], next[c])
}

inline finish(c, v, k, f) {
    outcome[c] = 1 + v;
#ifdef WITNESS_ABSENT
    assert(v != 0);
#endif
    kept[c] = k;
    kept_found[c] = f;
    kept_value[c] = (k != 0 -> v : 0);
    forget(c);
    ballot[c] = 0;
    bound[c] = false;
    pc[c] = ENDED
}

/* Leaves what was found as it is: writes it back unless it is known to be chosen. */
inline keep(c, chosen) {
    if
#ifndef MUTANT_NO_WRITE_BACK
    :: found[c] != 0 && !(chosen) ->
#ifdef WITNESS_WRITE_BACK
        assert(false);
#endif
        accept(c, found_value[c])
#endif
    :: else -> finish(c, found_value[c], ballot[c], found[c])
    fi
}

inline decide(c) {
    if
    :: IS_GET(c) || found_value[c] == c + 1 -> keep(c, agreed[c])
    :: else ->
        if
        :: found[c] == 0 ->
            bound[c] = true;
            accept(c, c + 1)
        /* REG-8: what buries an accept of ours must be chosen under our newer ballot. */
        :: else -> keep(c, agreed[c] && !bound[c])
        fi
    fi
}

inline conclude(c) {
    if
    :: pc[c] == READ ->
        if
#ifdef MUTANT_NO_WRITE_BACK
        :: true -> finish(c, found_value[c], 0, 0)
#else
        :: agreed[c] -> finish(c, found_value[c], 0, 0)
        :: else -> prepare(c)
#endif
        fi
    :: pc[c] == PREPARE -> decide(c)
    :: pc[c] == ACCEPT -> finish(c, value[c], next[c], ballot[c])
    fi
}

/* The coordinator counts the answer of member s to its ask of the ballot b. */
inline count(c, s, b) {
    if
    :: ballot[c] != b || pc[c] == IDLE || pc[c] == ENDED
    :: else ->
        if
        :: reply == REFUSED && pc[c] != READ ->
#ifdef WITNESS_REFUSED
            assert(pc[c] != ACCEPT);
#endif
            if
            :: shown / 2 > round[c] -> round[c] = shown / 2
            :: else
            fi;
            refused[c] = refused[c] | (1 << s)
        :: (reply == HELD && pc[c] == READ) || (reply == PROMISED && pc[c] == PREPARE) ->
            if
            :: (answered[c] >> s) & 1
            :: else ->
                agreed[c] = agreed[c] && (answered[c] == 0 || found[c] == shown);
#ifdef MUTANT_FIRST
                if
                :: answered[c] == 0 ->
#else
                if
                :: shown > found[c] ->
#endif
                    found[c] = shown;
                    found_value[c] = shown_value
                :: else
                fi;
                answered[c] = answered[c] | (1 << s)
            fi;
            if
            :: MAJORITY(answered[c]) -> conclude(c)
            :: else
            fi
        :: reply == ACCEPTED && pc[c] == ACCEPT ->
            answered[c] = answered[c] | (1 << s);
            if
            :: MAJORITY(answered[c]) -> conclude(c)
            :: else
            fi
        :: else
        fi
    fi
}

/* Ask number j of coordinator c reaches member s. */
inline vote(c, j, s) {
    i = (c) * MOST + j;
    shown = accepted[s];
    shown_value = holds[s];
    if
    :: ask_kind[i] == READ -> reply = HELD
    :: ask_kind[i] == PREPARE ->
        if
        :: ask_ballot[i] < promise[s] ->
            reply = REFUSED;
            shown = promise[s]
        :: else ->
            promise[s] = ask_ballot[i];
            reply = PROMISED
        fi
    :: ask_kind[i] == ACCEPT ->
        raised = (ask_next[i] > ask_ballot[i] -> ask_next[i] : ask_ballot[i]);
        if
#ifndef MUTANT_BELOW
        /* REG-6: a duplicate is acknowledged together with its promise or not at all. */
        :: ask_ballot[i] < promise[s] && !(accepted[s] == ask_ballot[i] && promise[s] == raised) ->
            reply = REFUSED;
            shown = promise[s]
#endif
        :: else ->
            promise[s] = raised;
            accepted[s] = ask_ballot[i];
            holds[s] = ask_value[i];
            reply = ACCEPTED
        fi
    fi
}

#define HOLD(v) (holds[0] == v) + (holds[1] == v) + (holds[2] == v)

/* REG-7, REG-9: there is one value; a majority has it before it is answered, and keeps it; and who
   begins when it is known does not miss it. */
inline judge() {
    assert(outcome[0] < 2 || outcome[1] < 2 || outcome[0] == outcome[1]);
    assert(outcome[0] < 2 || HOLD(outcome[0] - 1) > 1);
    assert(outcome[1] < 2 || HOLD(outcome[1] - 1) > 1);
    assert(!(late[0] && outcome[0] == 1) && !(late[1] && outcome[1] == 1));
#ifdef WITNESS_BOTH
    assert(pc[0] != ENDED || pc[1] != ENDED);
#endif
    reply = 0
}

inline deliver(c, j, s) {
    vote(c, j, s);
    i = ask_ballot[(c) * MOST + j];
    raised = i;
    count(c, s, raised);
    judge()
}

inline lose(c, j, s) {
    vote(c, j, s);
    judge()
}

inline begin(c) {
    late[c] = (outcome[1 - c] > 1);
    if
    :: IS_GET(c) ->
        round[c] = round[c] + 1;
        ballot[c] = 2 * round[c] + c;
        agreed[c] = true;
        pc[c] = READ;
        ask(c, READ, ballot[c], 0, 0)
    :: else -> prepare(c)
    fi
}

inline retry(c) {
    retries = retries - 1;
    prepare(c)
}

#define RUNNING(c) (pc[c] != IDLE && pc[c] != ENDED)
#define TO(c, j, s) \
    :: d_step { asked[c] > j -> deliver(c, j, s) } \
    :: d_step { asked[c] > j -> lose(c, j, s) }
#define ASK(c, j) TO(c, j, 0) TO(c, j, 1) TO(c, j, 2)

active proctype registers() {
end:
    do
    :: d_step { pc[0] == IDLE -> begin(0) }
    :: d_step { pc[1] == IDLE -> begin(1) }
    :: d_step { retries > 0 && RUNNING(0) -> retry(0) }
    :: d_step { retries > 0 && RUNNING(1) -> retry(1) }
    ASK(0, 0)
    ASK(0, 1)
    ASK(0, 2)
    ASK(1, 0)
    ASK(1, 1)
    ASK(1, 2)
#if RETRIES > 0
    ASK(0, 3)
    ASK(0, 4)
    ASK(1, 3)
    ASK(1, 4)
#endif
    od
}
