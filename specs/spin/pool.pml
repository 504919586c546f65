/*
 * A second opinion on the pool: the algorithm of impl/pool (Allocate, Free, Refresh), written again
 * by hand for Spin, for the shape of fanout 2 and block 1 and the policy lowest first.
 *
 * `model/src/twin.rs` explores the real step machines in the same abstraction; both must find
 * exactly the same number of states and of transitions. README.md says what that means.
 *
 * state.pml has the tree, the map, the callers, and what is judged after every step.
 *
 * Bounds, all by -D:
 *   N        ids, 2 to 4 (3 is ragged)
 *   CALLERS  callers
 *   CALLS    calls in each caller's script
 *   FREES    which of them are frees: bit n is set when call n is free, else it is allocate
 *   CRASHES  how many callers may die, each at any step inside a call
 *   UNKNOWN  1: one compare-and-set, any, may be answered Unknown: it happens at once, later, or
 *            never; 0: none
 *
 * Mutants, each must violate an assertion:
 *   MUTANT_SKIP         a refresh leaves out the write when the count is already right
 *   MUTANT_CHILD_FIRST  a refresh reads the child before the node
 *   MUTANT_NO_VERSION   a write does not raise the version: values are compared alone
 *   MUTANT_KEEP_TOTAL   after a lost race a refresh writes the total that it knew before
 *   MUTANT_GIVE_UP      Unknown at the slot is taken as failure (with UNKNOWN=1)
 *
 * Witnesses, each must violate an assertion, since it says that something is never reached:
 *   WITNESS_FULL        Full is answered
 *   WITNESS_HELP        a caller helps another
 *   WITNESS_RACE        a refresh loses a race for a node
 *   WITNESS_LATE        a late write of a leaf succeeds (with UNKNOWN=1)
 *
 * One process, one d_step for each transition: a caller carries out the map operation that it asks
 * for and takes its outcome. The state vector is the variables below that are not hidden, and
 * whatever a caller no longer remembers is zero, as it is in no state of the Rust machine.
 */

#include "state.pml"

/* ---- Refresh ---- */

/* The edge above p from its beginning. */
inline refresh_from(c, p) {
    forget(c);
    at[c] = p;
    pc[c] = READ_NODE
}

/* The edges from p up, which holds now what the map says: all above it were read before. */
inline refresh_path(c, p) {
    forget(c);
    at[c] = p;
    total[c] = TOTAL(at[c]);
    pop(c, PARENT(at[c]));
    pc[c] = WRITE
}

inline return_now(c) {
    forget(c);
    top_version[c] = 0;
    top_low[c] = 0;
    top_high[c] = 0;
    mid_version[c] = 0;
    mid_low[c] = 0;
    mid_high[c] = 0;
    at[c] = 0;
    helping[c] = false;
    outcome[c] = 0;
    full_seen[c] = false;
    call[c] = NONE;
    pc[c] = BETWEEN
}

inline return_free(c) {
    /* POOL-1, POOL-2: what was held is freed by its holder, and only what was held. */
    assert(holds[c] == (outcome[c] == FREED));
    holds[c] = false;
    return_now(c)
}

inline edge_done(c) {
    here = PARENT(at[c]);
    if
    /* Its own write is a read of the next child. */
    :: here != ROOT -> refresh_path(c, here)
    :: else ->
        if
        :: helping[c] ->
            forget(c);
            helping[c] = false;
            at[c] = ROOT;
            pc[c] = ENTER
        :: else ->
            if
            :: call[c] == ALLOCATE ->
                holds[c] = true;
                return_now(c)
            :: else -> return_free(c)
            fi
        fi
    fi
}

inline write_parent(c) {
    here = PARENT(at[c]);
    if
#ifdef MUTANT_SKIP
    :: (SIDE(at[c]) == 0 -> seen_low[c] : seen_high[c]) == total[c] -> edge_done(c)
    :: else ->
    if
#endif
    :: UNCHANGED(c, here) ->
        version[here] = RAISED(version[here]);
        if
        :: SIDE(at[c]) == 0 -> low[here] = total[c]
        :: else -> high[here] = total[c]
        fi;
        edge_done(c)
    :: else ->
#ifdef WITNESS_RACE
        assert(false);
#endif
#ifdef MUTANT_CHILD_FIRST
        refresh_from(c, at[c])
#else
        /* What the map held at the mismatch is a read of the parent. */
#ifdef MUTANT_KEEP_TOTAL
        remember(c, here)
#else
        forget(c);
        remember(c, here);
        pc[c] = READ_CHILD
#endif
#endif
    fi
#ifdef MUTANT_SKIP
    fi
#endif
}

/* ---- Allocate ---- */

inline no_room(c, p) {
    if
    :: p == ROOT ->
        /* POOL-3 */
        assert(full_seen[c]);
#ifdef WITNESS_FULL
        assert(false);
#endif
        return_now(c)
    :: else ->
#ifdef WITNESS_HELP
        assert(false);
#endif
        helping[c] = true;
        refresh_path(c, p)
    fi
}

inline visit_leaf(c, p) {
    if
    :: low[p] == 0 ->
        forget(c);
        remember(c, p);
        at[c] = p;
        pc[c] = PUT
    :: else -> no_room(c, p)
    fi
}

/* An inner node that has these counts. */
inline visit_node(c, p, lower, upper) {
    if
    :: lower < CAPACITY(LOWER(p)) ->
        push(c, p);
        at[c] = LOWER(p);
        pc[c] = ENTER
    :: else ->
        if
        :: upper < CAPACITY(LOWER(p) + 1) ->
            push(c, p);
            at[c] = LOWER(p) + 1;
            pc[c] = ENTER
        :: else -> no_room(c, p)
        fi
    fi
}

inline enter(c) {
    here = at[c];
    if
    :: here < LEAVES -> visit_leaf(c, here)
    :: else ->
        if
        :: version[here] == 0 -> pc[c] = CREATE
        :: else -> visit_node(c, here, low[here], high[here])
        fi
    fi
}

inline create(c) {
    here = at[c];
    if
    :: version[here] == 0 ->
        version[here] = 1;
        visit_node(c, here, 0, 0)
    :: else -> visit_node(c, here, low[here], high[here])
    fi
}

inline settle_allocate(c, p) {
    id[c] = p + 1;
    refresh_path(c, p)
}

inline resolve(c) {
    here = at[c];
    if
    /* Not yet, and perhaps still to come: only a write here can bury it. */
    :: version[here] == seen_version[c] ->
        doubt[c] = true;
        pc[c] = PUT
    :: else ->
        if
        :: low[here] == TAG(c) -> settle_allocate(c, here)
        :: else -> visit_leaf(c, here)
        fi
    fi
}

inline put(c) {
    here = at[c];
    if
    :: UNCHANGED(c, here) ->
        assert(low[here] == 0); /* POOL-1 */
        version[here] = RAISED(version[here]);
        low[here] = TAG(c);
        settle_allocate(c, here)
    :: else ->
        if
        :: doubt[c] -> resolve(c)
        :: else -> visit_leaf(c, here)
        fi
    fi
}

/* ---- Free ---- */

inline settle_free(c, result) {
    outcome[c] = result;
    refresh_path(c, id[c] - 1)
}

/* `seen_version` is that of an attempt with an unknown outcome, or 0. */
inline read_leaf(c) {
    here = id[c] - 1;
    if
    :: version[here] == 0 ->
        outcome[c] = ALREADY_FREE;
        return_free(c)
    :: else ->
        if
        :: low[here] == TAG(c) ->
            total[c] = (seen_version[c] == version[here]);
            remember(c, here);
            doubt[c] = total[c];
            total[c] = 0;
            pc[c] = CLEAR
        :: else ->
            if
            :: seen_version[c] != 0 -> settle_free(c, FREED)
            :: else ->
                if
                :: low[here] == 0 -> settle_free(c, ALREADY_FREE)
                :: else -> settle_free(c, NOT_OWNER)
                fi
            fi
        fi
    fi
}

/* `at` is the root, then the node between, if there is one, then the leaf. */
inline descend(c) {
    here = at[c];
    if
    :: version[here] == 0 ->
        outcome[c] = ALREADY_FREE;
        return_free(c)
    :: else ->
        if
        :: here < LEAVES ->
            at[c] = 0;
            read_leaf(c)
        :: else ->
            push(c, here);
            if
            :: PARENT(id[c] - 1) == here -> at[c] = id[c] - 1
            :: else -> at[c] = PARENT(id[c] - 1)
            fi
        fi
    fi
}

inline clear(c) {
    here = id[c] - 1;
    if
    :: UNCHANGED(c, here) ->
        assert(low[here] == TAG(c)); /* POOL-2 */
        version[here] = RAISED(version[here]);
        low[here] = 0;
        settle_free(c, FREED)
    :: else ->
        if
        :: doubt[c] -> seen_low[c] = 0
        :: else -> forget(c)
        fi;
        read_leaf(c)
    fi
}

/* ---- Unknown ---- */

inline postpone(c, p, new_low, new_high) {
    late_place = (p) + 1;
    late_by = c;
    late_version = seen_version[c];
    late_low = seen_low[c];
    late_high = seen_high[c];
    late_new_low = new_low;
    late_new_high = new_high
}

/* The compare-and-set that the caller asks for is left for later; the caller is told Unknown. */
inline postpone_write(c) {
    unknown = 0;
    if
    :: pc[c] == CREATE ->
        postpone(c, at[c], 0, 0);
        pc[c] = ENTER
    :: pc[c] == PUT ->
        postpone(c, at[c], TAG(c), 0);
#ifdef MUTANT_GIVE_UP
        forget(c);
        at[c] = ROOT;
        pc[c] = ENTER
#else
        doubt[c] = false;
        pc[c] = RESOLVE
#endif
    :: pc[c] == CLEAR ->
        postpone(c, id[c] - 1, 0, 0);
        seen_low[c] = 0;
        doubt[c] = false;
        pc[c] = READ
    :: pc[c] == WRITE ->
        if
        :: SIDE(at[c]) == 0 -> postpone(c, PARENT(at[c]), total[c], seen_high[c])
        :: else -> postpone(c, PARENT(at[c]), seen_low[c], total[c])
        fi;
        refresh_from(c, at[c])
    fi;
    judge()
}

inline land() {
    here = late_place - 1;
    if
    :: version[here] == late_version && low[here] == late_low && high[here] == late_high ->
        if
        :: here < LEAVES ->
#ifdef WITNESS_LATE
            assert(false);
#endif
            /* POOL-2 */
            assert((low[here] == 0 && late_new_low == TAG(late_by))
                || (low[here] == TAG(late_by) && late_new_low == 0))
        :: else
        fi;
        version[here] = RAISED(version[here]);
        low[here] = late_new_low;
        high[here] = late_new_high
    :: else
    fi;
    late_place = 0;
    late_by = 0;
    late_version = 0;
    late_low = 0;
    late_high = 0;
    late_new_low = 0;
    late_new_high = 0;
    judge()
}

/* ---- Steps ---- */

/* Starts the next call. A free of an id that was never had is passed over. */
inline begin(c) {
    if
    :: !IS_FREE(next[c]) ->
        holds[c] = false;
        id[c] = 0;
        call[c] = ALLOCATE;
        at[c] = ROOT;
        pc[c] = ENTER
    :: else ->
        if
        :: id[c] != 0 ->
            call[c] = FREE;
            at[c] = ROOT;
            pc[c] = DESCEND
        :: else
        fi
    fi;
    next[c] = next[c] + 1
}

inline step(c) {
    if
    :: pc[c] == BETWEEN -> begin(c)
    :: pc[c] == ENTER -> enter(c)
    :: pc[c] == CREATE -> create(c)
    :: pc[c] == PUT -> put(c)
    :: pc[c] == RESOLVE -> resolve(c)
    :: pc[c] == DESCEND -> descend(c)
    :: pc[c] == READ -> read_leaf(c)
    :: pc[c] == CLEAR -> clear(c)
#ifdef MUTANT_CHILD_FIRST
    :: pc[c] == READ_NODE ->
        total[c] = TOTAL(at[c]);
        pc[c] = READ_CHILD
    :: pc[c] == READ_CHILD ->
        remember(c, PARENT(at[c]));
        pc[c] = WRITE
#else
    :: pc[c] == READ_NODE ->
        remember(c, PARENT(at[c]));
        pc[c] = READ_CHILD
    :: pc[c] == READ_CHILD ->
        total[c] = TOTAL(at[c]);
        pc[c] = WRITE
#endif
    :: pc[c] == WRITE -> write_parent(c)
    fi;
    judge()
}

inline die(c) {
    crashes = crashes - 1;
    /* What it was freeing stays "being freed by a call that has not returned". */
    if
    :: call[c] != FREE -> id[c] = 0
    :: else
    fi;
    holds[c] = false;
    next[c] = 0;
    return_now(c);
    pc[c] = DEAD
}

#define CAN_STEP(c) (RUNNING(c) || (pc[c] == BETWEEN && next[c] < CALLS))
#define CAN_DOUBT(c) (unknown != 0 && (pc[c] == CREATE || pc[c] == PUT || pc[c] == CLEAR || pc[c] == WRITE))
#define CAN_DIE(c) (crashes > 0 && RUNNING(c))

active proctype pool() {
end:
    do
    :: d_step { CAN_STEP(0) -> step(0) }
    :: d_step { CAN_DOUBT(0) -> postpone_write(0) }
    :: d_step { CAN_DIE(0) -> die(0) }
    :: d_step { CAN_STEP(1) -> step(1) }
    :: d_step { CAN_DOUBT(1) -> postpone_write(1) }
    :: d_step { CAN_DIE(1) -> die(1) }
#if CALLERS > 2
    :: d_step { CAN_STEP(2) -> step(2) }
    :: d_step { CAN_DOUBT(2) -> postpone_write(2) }
    :: d_step { CAN_DIE(2) -> die(2) }
#endif
    :: d_step { late_place != 0 -> land() }
    od
}
