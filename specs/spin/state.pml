/*
 * What a state of pool.pml is: the tree's arithmetic, the map, the callers; and what is judged after
 * every step. pool.pml says what the bounds mean and how a step is taken.
 */

#if !defined(N) || !defined(CALLERS) || !defined(CALLS) || !defined(FREES) || !defined(CRASHES) || !defined(UNKNOWN)
#error "pool.pml: expected -DN= -DCALLERS= -DCALLS= -DFREES= -DCRASHES= -DUNKNOWN="
#endif
#if N < 2 || N > 4
#error "pool.pml: expected N from 2 to 4"
#endif

/* ---- The tree: leaves first, then the level above, the root last. ---- */

#if N == 2
#define LEAVES 2
#else
#define LEAVES 4
#endif
#define PLACES (2 * LEAVES - 1)
#define ROOT (PLACES - 1)
#define PARENT(p) (LEAVES + (p) / 2)
#define SIDE(p) ((p) % 2)
#define LOWER(p) (2 * ((p) - LEAVES))
/* Ids below a place; places beyond a ragged end have none. Never asked of the root. */
#define CAPACITY(p) ((p) < LEAVES -> ((p) < N) : ((p) == LEAVES -> 2 : N - 2))

/* ---- The map. Version 0 is absence. A leaf has its holder's tag in `low`, 0 when free. ---- */

byte version[PLACES];
byte low[PLACES];  /* of an inner node: the count of its lower child */
byte high[PLACES]; /* of an inner node: the count of its upper child */

#define TOTAL(p) ((p) < LEAVES -> (low[p] != 0) : low[p] + high[p])
#define COUNT(p) (SIDE(p) == 0 -> low[PARENT(p)] : high[PARENT(p)])

#ifdef MUTANT_NO_VERSION
#define RAISED(v) 1
#else
#define RAISED(v) ((v) + 1)
#endif

/* ---- The callers. ---- */

#define BETWEEN 0    /* no call is under way */
#define ENTER 1      /* Allocate: reads `at`, which is said to have room */
#define CREATE 2     /* Allocate: creates the missing inner node `at` */
#define PUT 3        /* Allocate: takes the leaf `at` as it was remembered */
#define READ 4       /* Free: reads the leaf once more, after an unknown outcome */
#define CLEAR 5      /* Free: clears the leaf as it was remembered */
#define READ_NODE 6  /* Refresh of the edge above `at`: reads the parent */
#define READ_CHILD 7 /* Refresh: reads the child */
#define WRITE 8      /* Refresh: writes the parent as it was remembered */
#define DEAD 9
#define RESOLVE 10   /* Allocate: reads the leaf back after an attempt with an unknown outcome */
#define DESCEND 11   /* Free: reads `at`, on its way down to the leaf */

#define NONE 0
#define ALLOCATE 1
#define FREE 2

#define FREED 1
#define ALREADY_FREE 2
#define NOT_OWNER 3

byte pc[CALLERS];
byte next[CALLERS];    /* calls begun */
byte call[CALLERS];    /* which call is under way */
bool helping[CALLERS]; /* a refresh for others, after which the descent starts again */
byte at[CALLERS];      /* a place; of a refresh, the child */
byte seen_version[CALLERS], seen_low[CALLERS], seen_high[CALLERS]; /* the remembered value */
/* The path: what was read of the nodes above on the way down, and has not been written on since. */
byte top_version[CALLERS], top_low[CALLERS], top_high[CALLERS]; /* of the root */
byte mid_version[CALLERS], mid_low[CALLERS], mid_high[CALLERS]; /* of the node between, if there is one */
bool doubt[CALLERS];   /* an attempt on the remembered version may still be on its way */
byte total[CALLERS];   /* the remembered total of the child */
byte outcome[CALLERS]; /* of a free */
byte id[CALLERS];      /* the id taken, being freed, or last freed, plus 1 */
bool holds[CALLERS];   /* since allocate has returned; during free: it held when free was called */
bool full_seen[CALLERS]; /* during allocate: at some moment of it the pool was full (POOL-3) */
byte crashes = CRASHES;

/* The one write that may still happen: the place plus 1 or 0, what it expects, what it puts. */
byte unknown = UNKNOWN; /* still allowed */
byte late_place, late_by;
byte late_version, late_low, late_high, late_new_low, late_new_high;

#define TAG(c) ((c) + 1)
#define IS_FREE(n) (((FREES) >> (n)) & 1)
#define RUNNING(c) (pc[c] != BETWEEN && pc[c] != DEAD)
#define UNCHANGED(c, p) (version[p] == seen_version[c] && low[p] == seen_low[c] && high[p] == seen_high[c])

/* Scratch inside one step; not part of the state. */
hidden byte here, who, slot;
hidden byte no_room_left, taken, quiet;

inline forget(c) {
    seen_version[c] = 0;
    seen_low[c] = 0;
    seen_high[c] = 0;
    doubt[c] = false;
    total[c] = 0
}

inline remember(c, p) {
    seen_version[c] = version[p];
    seen_low[c] = low[p];
    seen_high[c] = high[p]
}

/* On its way down a caller has read the inner node p. */
inline push(c, p) {
    if
    :: (p) == ROOT ->
        top_version[c] = version[p];
        top_low[c] = low[p];
        top_high[c] = high[p]
    :: else ->
        mid_version[c] = version[p];
        mid_low[c] = low[p];
        mid_high[c] = high[p]
    fi
}

/* What it read of the inner node p then becomes the remembered value, and leaves the path. */
inline pop(c, p) {
    if
    :: (p) == ROOT ->
        seen_version[c] = top_version[c];
        seen_low[c] = top_low[c];
        seen_high[c] = top_high[c];
        top_version[c] = 0;
        top_low[c] = 0;
        top_high[c] = 0
    :: else ->
        seen_version[c] = mid_version[c];
        seen_low[c] = mid_low[c];
        seen_high[c] = mid_high[c];
        mid_version[c] = 0;
        mid_low[c] = 0;
        mid_high[c] = 0
    fi
}

/* ---- What is judged. ---- */

inline is_full() {
    no_room_left = true;
    for (slot : 0 .. N - 1) {
        taken = (low[slot] != 0);
        for (who : 0 .. CALLERS - 1) {
            if
            /* Being freed by a call that has not returned; a dead caller's never does. */
            :: (call[who] == FREE || pc[who] == DEAD) && id[who] == slot + 1 -> taken = true
            :: else
            fi
        }
        no_room_left = no_room_left && taken
    }
}

/* After every step: POOL-1, POOL-4, and the moments that POOL-3 is about. */
inline judge() {
    is_full();
    quiet = (crashes == CRASHES);
    for (who : 0 .. CALLERS - 1) {
        if
        :: call[who] == ALLOCATE && no_room_left -> full_seen[who] = true
        :: else
        fi;
        if
        :: call[who] == NONE && holds[who] -> assert(low[id[who] - 1] == TAG(who))
        :: else
        fi;
        quiet = quiet && !RUNNING(who)
    }
    if
    :: quiet ->
        for (slot : 0 .. ROOT - 1) {
            assert(COUNT(slot) == TOTAL(slot))
        }
    :: else
    fi
}
