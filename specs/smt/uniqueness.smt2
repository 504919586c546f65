; POOL-1 and POOL-2 for any number of callers, tags, blocks, slots, calls and attempts: an inductive
; invariant of the blocks and of all compare-and-sets on them (`impl/pool`: Allocate::Put,
; Free::Clear). PROVED where unsat, for the transitions written here.
;
; An *attempt* is one compare-and-set on a block. Once asked for, it may be carried out at any later
; moment, once, or be lost: that is timely success, `Unknown` in its three meanings, and a caller
; that dies, all in one. A call that has returned or died is *over*; its attempts are not.
;
; What the caller's rules give (specs/pool.md) stands in the transition START: a tag is not used
; by a free and an allocate at the same time, and a free begins after the use of the id has ended.
;
; Sorts are of any size. What never changes about an attempt or a call is a plain function, since
; nothing bounds how many there are: the next one asked for is any that has not been asked for.
(set-logic UFLIA)
(declare-sort Tag 0)
(declare-sort Block 0)
(declare-sort Slot 0)
(declare-sort Call 0)
(declare-sort Attempt 0)

(declare-const nobody Tag) ; stands in a free slot

; A call: allocate for a tag, or free of an id (a block's slot) from a tag.
(declare-fun call-frees (Call) Bool)
(declare-fun call-tag (Call) Tag)
(declare-fun call-block (Call) Block)
(declare-fun call-slot (Call) Slot)
; An attempt: for a call, on a block, at a remembered version and content, with a slot to change.
(declare-fun by (Attempt) Call)
(declare-fun block (Attempt) Block)
(declare-fun slot (Attempt) Slot)
(declare-fun old-version (Attempt) Int)
(declare-fun old-tag (Attempt Slot) Tag)

; The state.
(declare-fun version (Block) Int)
(declare-fun tag (Block Slot) Tag)
(declare-fun running (Call) Bool)
(declare-fun pending (Attempt) Bool)   ; asked for; neither carried out nor lost
; Its history: what a block held at a version. Nobody reads it but the proof.
(declare-fun was (Block Int Slot) Tag)
; Whose the ids are, by the callers' knowledge: from the write that allocates until free is called.
(declare-fun holds (Tag Block Slot) Bool)

; What an attempt writes into a slot: its call's tag, or nobody.
(define-fun puts ((a Attempt)) Tag (ite (call-frees (by a)) nobody (call-tag (by a))))
(define-fun frees-here ((c Call) (t Tag) (b Block) (s Slot)) Bool
  (and (call-frees c) (= (call-tag c) t) (= (call-block c) b) (= (call-slot c) s)))

; ---- The invariant, as clauses over single objects. ----
; NOW: what a block holds is what it was at its version.
(define-fun now ((b Block) (s Slot)) Bool (= (tag b s) (was b (version b) s)))
; READ: an attempt's remembered content is what the block was at the remembered version.
(define-fun read ((a Attempt) (s Slot)) Bool
  (=> (pending a)
    (and (<= (old-version a) (version (block a)))
         (= (old-tag a s) (was (block a) (old-version a) s)))))
; AIM: allocate takes a free slot only, free clears a slot that holds its tag only.
(define-fun aim ((a Attempt)) Bool
  (=> (pending a)
    (and (distinct (call-tag (by a)) nobody)
         (=> (not (call-frees (by a))) (= (old-tag a (slot a)) nobody))
         (=> (call-frees (by a))
             (and (= (old-tag a (slot a)) (call-tag (by a)))
                  (= (block a) (call-block (by a)))
                  (= (slot a) (call-slot (by a))))))))
; POOL-1: who holds an id stands in its slot.
(define-fun pool-1 ((t Tag) (b Block) (s Slot)) Bool
  (=> (holds t b s) (and (= (tag b s) t) (distinct t nobody))))
; LATE: a clear that could still succeed clears an id that nobody holds.
(define-fun late ((a Attempt)) Bool
  (=> (and (pending a) (call-frees (by a)) (= (old-version a) (version (block a))))
      (not (holds (call-tag (by a)) (block a) (slot a)))))
; ENDED: while a free runs, its pair is not held.
(define-fun ended ((c Call)) Bool
  (=> (and (running c) (call-frees c))
      (not (holds (call-tag c) (call-block c) (call-slot c)))))
; RULE: a tag is not used by an allocate and a free at the same time.
(define-fun rule ((c Call) (d Call)) Bool
  (=> (and (running c) (running d) (call-frees c) (not (call-frees d)))
      (distinct (call-tag c) (call-tag d))))

; ---- Initiation: nothing written, nobody at work. ----
(push 1)
(assert (forall ((b Block)) (= (version b) 0)))
(assert (forall ((b Block) (s Slot)) (= (tag b s) nobody)))
(assert (forall ((b Block) (v Int) (s Slot)) (= (was b v s) nobody)))
(assert (forall ((c Call)) (not (running c))))
(assert (forall ((a Attempt)) (not (pending a))))
(assert (forall ((t Tag) (b Block) (s Slot)) (not (holds t b s))))
(push 1)
(assert (not (and
  (forall ((b Block) (s Slot)) (now b s))
  (forall ((a Attempt) (s Slot)) (read a s))
  (forall ((a Attempt)) (and (aim a) (late a)))
  (forall ((t Tag) (b Block) (s Slot)) (pool-1 t b s))
  (forall ((c Call)) (ended c))
  (forall ((c Call) (d Call)) (rule c d)))))
(check-sat) ; expect: unsat -- initiation: an empty pool satisfies the invariant
(pop 1)
(pop 1)

; ---- From here on the invariant holds before the step. ----
(assert (forall ((b Block) (s Slot)) (! (now b s) :pattern ((tag b s)))))
(assert (forall ((a Attempt) (s Slot)) (! (read a s) :pattern ((old-tag a s)))))
(assert (forall ((a Attempt)) (! (aim a) :pattern ((pending a)))))
(assert (forall ((a Attempt)) (! (late a) :pattern ((pending a)))))
(assert (forall ((t Tag) (b Block) (s Slot)) (! (pool-1 t b s) :pattern ((holds t b s)))))
(assert (forall ((c Call)) (! (ended c) :pattern ((running c)))))
(assert (forall ((c Call) (d Call)) (! (rule c d) :pattern ((running c) (running d)))))

; Any objects: a clause that fails after a step fails for these.
(declare-const a0 Attempt)
(declare-const b0 Block)
(declare-const s0 Slot)
(declare-const t0 Tag)
(declare-const t1 Tag)
(declare-const c0 Call)
(declare-const d0 Call)
; The step's own.
(declare-const a Attempt)
(declare-const c Call)

; ---- The properties follow from the invariant. ----
(push 1)
(assert (and (holds t0 b0 s0) (holds t1 b0 s0) (distinct t0 t1)))
(check-sat) ; expect: unsat -- POOL-1: an id is never held under two tags
(pop 1)
(push 1)
(assert (and (holds t0 b0 s0) (holds t1 b0 (slot a0)) (distinct t0 t1) (pending a0)))
(assert (and (call-frees (by a0)) (= (block a0) b0)))
(check-sat) ; expect: sat -- witness: two holders in a block and a late clear about
(pop 1)

; ---- ASK: a running call asks for a compare-and-set of what it once read. ----
; It read the block at some version up to now; it may have been overtaken since.
(define-fun ask-reads ((s Slot)) Bool (= (old-tag a s) (was (block a) (old-version a) s)))
(define-fun ask-guard () Bool
  (and (not (pending a)) (running (by a)) (distinct (call-tag (by a)) nobody)
       (<= (old-version a) (version (block a)))))
(define-fun ask-aims () Bool
  (ite (call-frees (by a))
    (and (= (old-tag a (slot a)) (call-tag (by a)))
         (= (block a) (call-block (by a))) (= (slot a) (call-slot (by a))))
    (= (old-tag a (slot a)) nobody)))
(define-fun ask-pending ((x Attempt)) Bool (or (pending x) (= x a)))
(push 1)
(assert ask-guard)
(assert (forall ((s Slot)) (! (ask-reads s) :pattern ((old-tag a s)))))
(assert ask-aims)
(push 1)
(assert (ask-pending a0))
(assert (not (and (<= (old-version a0) (version (block a0)))
                  (= (old-tag a0 s0) (was (block a0) (old-version a0) s0)))))
(check-sat) ; expect: unsat -- READ consecution: ask
(pop 1)
(push 1)
(assert (ask-pending a0))
(assert (not (and
  (distinct (call-tag (by a0)) nobody)
  (=> (not (call-frees (by a0))) (= (old-tag a0 (slot a0)) nobody))
  (=> (call-frees (by a0))
      (and (= (old-tag a0 (slot a0)) (call-tag (by a0)))
           (= (block a0) (call-block (by a0))) (= (slot a0) (call-slot (by a0))))))))
(check-sat) ; expect: unsat -- AIM consecution: ask
(pop 1)
(push 1)
(assert (and (ask-pending a0) (call-frees (by a0)) (= (old-version a0) (version (block a0)))
             (holds (call-tag (by a0)) (block a0) (slot a0))))
(check-sat) ; expect: unsat -- LATE consecution: ask
(pop 1)
(push 1)
(assert (and (call-frees (by a)) (= (old-version a) (version (block a)))))
(check-sat) ; expect: sat -- witness: a free can ask for its clear
(pop 1)
(pop 1)
; (NOW, POOL-1, ENDED and RULE do not mention what ASK changes.)

; ---- CARRY OUT: a pending attempt meets the block as it remembers it. Timely or late. ----
(define-fun meets-version () Bool (= (version (block a)) (old-version a)))
(define-fun meets ((s Slot)) Bool (= (tag (block a) s) (old-tag a s)))
(define-fun out-version ((b Block)) Int
  (ite (= b (block a)) (+ (old-version a) 1) (version b)))
; The new value is the remembered one with one slot changed.
(define-fun out-tag ((b Block) (s Slot)) Tag
  (ite (= b (block a)) (ite (= s (slot a)) (puts a) (old-tag a s)) (tag b s)))
(define-fun out-was ((b Block) (v Int) (s Slot)) Tag
  (ite (and (= b (block a)) (= v (out-version b))) (out-tag b s) (was b v s)))
(define-fun out-pending ((x Attempt)) Bool (and (pending x) (distinct x a)))
; Who allocates holds from here, unless the call is over: then the slot is a phantom (POOL-7).
(define-fun out-holds ((t Tag) (b Block) (s Slot)) Bool
  (or (holds t b s)
      (and (not (call-frees (by a))) (running (by a))
           (= t (call-tag (by a))) (= b (block a)) (= s (slot a)))))
(push 1)
(assert (pending a))
(push 1)
(assert meets-version)
(assert (forall ((s Slot)) (! (meets s) :pattern ((old-tag a s)))))
(push 1)
(assert (distinct (out-tag b0 s0) (out-was b0 (out-version b0) s0)))
(check-sat) ; expect: unsat -- NOW consecution: carry out
(pop 1)
(push 1)
(assert (out-pending a0))
(assert (not (and (<= (old-version a0) (out-version (block a0)))
                  (= (old-tag a0 s0) (out-was (block a0) (old-version a0) s0)))))
(check-sat) ; expect: unsat -- READ consecution: carry out
(pop 1)
(push 1)
(assert (out-holds t0 b0 s0))
(assert (not (and (= (out-tag b0 s0) t0) (distinct t0 nobody))))
(check-sat) ; expect: unsat -- POOL-1 consecution: carry out
(pop 1)
(push 1)
(assert (and (out-pending a0) (call-frees (by a0))
             (= (old-version a0) (out-version (block a0)))
             (out-holds (call-tag (by a0)) (block a0) (slot a0))))
(check-sat) ; expect: unsat -- LATE consecution: carry out
(pop 1)
(push 1)
(assert (and (running c0) (call-frees c0)
             (out-holds (call-tag c0) (call-block c0) (call-slot c0))))
(check-sat) ; expect: unsat -- ENDED consecution: carry out
(pop 1)
(push 1)
; POOL-2: a slot goes from nobody to a tag by an allocate of that tag, and from a tag to nobody by a
; free that names the tag and this id; never from one tag to another.
(assert (distinct (out-tag b0 s0) (tag b0 s0)))
(assert (not (or
  (and (= (tag b0 s0) nobody) (not (call-frees (by a))) (= (out-tag b0 s0) (call-tag (by a))))
  (and (= (out-tag b0 s0) nobody) (frees-here (by a) (tag b0 s0) b0 s0)))))
(check-sat) ; expect: unsat -- POOL-2: only (id, tag) frees (id, tag)
(pop 1)
(push 1)
(assert (and (not (call-frees (by a))) (running (by a)) (out-holds t0 b0 s0) (distinct s0 (slot a))
             (= b0 (block a))))
(check-sat) ; expect: sat -- witness: an allocate can take a slot beside a held one
(pop 1)
(push 1)
(assert (and (call-frees (by a)) (not (running (by a)))))
(check-sat) ; expect: sat -- witness: a dead caller's clear can still succeed
(pop 1)
(pop 1)
; (AIM and RULE: nothing new is pending or running.)

(push 1)
; A put that does not compare.
(assert (and (not (call-frees (by a))) (distinct (tag (block a) (slot a)) nobody)))
(assert (out-holds t0 b0 s0))
(assert (not (= (out-tag b0 s0) t0)))
(check-sat) ; expect: sat -- mutant: a put that does not compare takes a held id
(pop 1)
(push 1)
; A clear that compares the slot but not the version: a late one, after free and a new allocate.
(assert (and (call-frees (by a)) (= (tag (block a) (slot a)) (call-tag (by a)))))
(assert (and (out-holds t0 b0 s0) (= b0 (block a)) (= s0 (slot a))))
(assert (not (= (out-tag b0 s0) t0)))
(check-sat) ; expect: sat -- mutant: a clear without its version takes an id from a later holder
(pop 1)
(pop 1)
(push 1)
; A free that does not look whose tag is in the slot before it asks.
(assert ask-guard)
(assert (forall ((s Slot)) (! (ask-reads s) :pattern ((old-tag a s)))))
(assert (and (call-frees (by a)) (= (block a) (call-block (by a))) (= (slot a) (call-slot (by a)))))
(assert (= (old-version a) (version (block a))))
(assert (holds t0 (block a) (slot a)))
(check-sat) ; expect: sat -- mutant: a free without the tag check aims at a held id
(pop 1)

; ---- START: a call begins. By the caller's rules. ----
(define-fun start-running ((x Call)) Bool (or (running x) (= x c)))
(define-fun start-holds ((t Tag) (b Block) (s Slot)) Bool
  (and (holds t b s) (not (frees-here c t b s))))
(push 1)
(assert (not (running c)))
(assert (forall ((d Call)) (! (=> (and (running d) (distinct (call-frees c) (call-frees d)))
                                  (distinct (call-tag c) (call-tag d))) :pattern ((running d)))))
(push 1)
(assert (start-holds t0 b0 s0))
(assert (not (and (= (tag b0 s0) t0) (distinct t0 nobody))))
(check-sat) ; expect: unsat -- POOL-1 consecution: start
(pop 1)
(push 1)
(assert (and (pending a0) (call-frees (by a0)) (= (old-version a0) (version (block a0)))
             (start-holds (call-tag (by a0)) (block a0) (slot a0))))
(check-sat) ; expect: unsat -- LATE consecution: start
(pop 1)
(push 1)
(assert (and (start-running c0) (call-frees c0)
             (start-holds (call-tag c0) (call-block c0) (call-slot c0))))
(check-sat) ; expect: unsat -- ENDED consecution: start
(pop 1)
(push 1)
(assert (and (start-running c0) (start-running d0) (call-frees c0) (not (call-frees d0))
             (= (call-tag c0) (call-tag d0))))
(check-sat) ; expect: unsat -- RULE consecution: start
(pop 1)
(push 1)
(assert (and (call-frees c) (holds (call-tag c) (call-block c) (call-slot c))))
(check-sat) ; expect: sat -- witness: a holder can call free
(pop 1)
(pop 1)
(push 1)
; A caller that frees an id and goes on using it.
(assert (and (not (running c)) (call-frees c)))
(assert (and (start-running c0) (call-frees c0) (holds (call-tag c0) (call-block c0) (call-slot c0))))
(check-sat) ; expect: sat -- mutant: an id freed while in use breaks ENDED
(pop 1)

; ---- END and LOSE: a call returns or its caller dies; an attempt is lost. ----
(define-fun end-running ((x Call)) Bool (and (running x) (distinct x c)))
(define-fun lose-pending ((x Attempt)) Bool (and (pending x) (distinct x a)))
(push 1)
(assert (running c))
(push 1)
(assert (not (and
  (=> (and (end-running c0) (call-frees c0))
      (not (holds (call-tag c0) (call-block c0) (call-slot c0))))
  (=> (and (end-running c0) (end-running d0) (call-frees c0) (not (call-frees d0)))
      (distinct (call-tag c0) (call-tag d0))))))
(check-sat) ; expect: unsat -- ENDED and RULE consecution: return or crash
(pop 1)
(push 1)
(assert (and (= (by a) c) (pending a)))
(check-sat) ; expect: sat -- witness: a caller can die with an attempt on its way
(pop 1)
(pop 1)
(push 1)
(assert (pending a))
(assert (not (=> (lose-pending a0)
  (and (<= (old-version a0) (version (block a0)))
       (= (old-tag a0 s0) (was (block a0) (old-version a0) s0))
       (distinct (call-tag (by a0)) nobody)
       (=> (not (call-frees (by a0))) (= (old-tag a0 (slot a0)) nobody))
       (=> (call-frees (by a0)) (= (old-tag a0 (slot a0)) (call-tag (by a0))))
       (=> (and (call-frees (by a0)) (= (old-version a0) (version (block a0))))
           (not (holds (call-tag (by a0)) (block a0) (slot a0))))))))
(check-sat) ; expect: unsat -- READ, AIM and LATE consecution: lose
(pop 1)
