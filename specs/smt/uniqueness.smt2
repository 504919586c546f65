; POOL-1 and POOL-2 for any number of callers, tags, blocks, slots, calls and attempts: an inductive
; invariant of the blocks and of all compare-and-sets on them (`impl/pool`: the states
; Put of Allocate, Clear of Free, Judge and Clear of Recover). PROVED where unsat, for the transitions written here.
;
; An *attempt* is one compare-and-set on a block. Once asked for, it may be carried out at any later
; moment, once, or be lost: that is timely success, `Unknown` in its three meanings, and a caller
; that dies, all in one. A call that has returned or died is *over*; its attempts are not.
;
; What the caller's rules give (specs/pool.md) stands in two transitions. START: a tag is not used by
; a free and an allocate at the same time, and a free begins after the use of the id has ended. JUDGE:
; a tag that is not written down holds no id at that moment. A recovery runs beside anything.
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

; A call: allocate for a tag, free of an id (a block's slot) from a tag, or, if neither, recover.
(declare-fun call-allocates (Call) Bool)
(declare-fun call-frees (Call) Bool)
(declare-fun call-tag (Call) Tag)
(declare-fun call-block (Call) Block)
(declare-fun call-slot (Call) Slot)
; An attempt: for a call, on a block, at a remembered version and content. An allocate puts its tag
; into one slot; the others clear slots, a recovery any number at once.
(declare-fun by (Attempt) Call)
(declare-fun block (Attempt) Block)
(declare-fun slot (Attempt) Slot)
(declare-fun clears (Attempt Slot) Bool)
(declare-fun old-version (Attempt) Int)
(declare-fun old-tag (Attempt Slot) Tag)

; The state.
(declare-fun version (Block) Int)
(declare-fun tag (Block Slot) Tag)
(declare-fun running (Call) Bool)
(declare-fun pending (Attempt) Bool)   ; asked for; neither carried out nor lost
(declare-fun judged (Attempt Slot) Bool) ; the remembered tag was not written down, says the notebook
; Its history: what a block held at a version. Nobody reads it but the proof.
(declare-fun was (Block Int Slot) Tag)
; Whose the ids are, by the callers' knowledge: from the write that allocates until free is called.
(declare-fun holds (Tag Block Slot) Bool)

; What an attempt writes into a slot of its block.
(define-fun new-tag ((a Attempt) (s Slot)) Tag
  (ite (call-allocates (by a))
    (ite (= s (slot a)) (call-tag (by a)) (old-tag a s))
    (ite (clears a s) nobody (old-tag a s))))
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
; AIM: allocate takes a free slot only, free clears its own slot if its tag is there, recovery clears
; what was judged.
(define-fun aims ((a Attempt) (s Slot)) Bool
  (ite (call-allocates (by a))
    (and (distinct (call-tag (by a)) nobody) (= (old-tag a (slot a)) nobody))
    (=> (clears a s)
      (ite (call-frees (by a))
        (and (= (old-tag a s) (call-tag (by a))) (= (block a) (call-block (by a)))
             (= s (call-slot (by a))))
        (judged a s)))))
(define-fun aim ((a Attempt) (s Slot)) Bool (=> (pending a) (aims a s)))
; POOL-1: who holds an id stands in its slot.
(define-fun pool-1 ((t Tag) (b Block) (s Slot)) Bool
  (=> (holds t b s) (and (= (tag b s) t) (distinct t nobody))))
; LATE: a clear that could still succeed clears ids that nobody holds.
(define-fun late ((a Attempt) (s Slot)) Bool
  (=> (and (pending a) (not (call-allocates (by a))) (clears a s)
           (= (old-version a) (version (block a))))
      (not (holds (old-tag a s) (block a) s))))
; JUDGED: while the block has not moved since it was read, what was judged is held by nobody.
(define-fun verdict ((a Attempt) (s Slot)) Bool
  (=> (judged a s)
    (and (<= (old-version a) (version (block a)))
         (=> (= (old-version a) (version (block a))) (not (holds (old-tag a s) (block a) s))))))
; ENDED: while a free runs, its pair is not held.
(define-fun ended ((c Call)) Bool
  (=> (and (running c) (call-frees c))
      (not (holds (call-tag c) (call-block c) (call-slot c)))))
; RULE: a tag is not used by an allocate and a free at the same time.
(define-fun rule ((c Call) (d Call)) Bool
  (=> (and (running c) (running d) (call-frees c) (call-allocates d))
      (distinct (call-tag c) (call-tag d))))
; KIND: a call is of one kind.
(define-fun kind ((c Call)) Bool (not (and (call-frees c) (call-allocates c))))
(assert (forall ((c Call)) (! (kind c) :pattern ((call-frees c)))))

; ---- Initiation: nothing written, nobody at work. ----
(push 1)
(assert (forall ((b Block)) (= (version b) 0)))
(assert (forall ((b Block) (s Slot)) (= (tag b s) nobody)))
(assert (forall ((b Block) (v Int) (s Slot)) (= (was b v s) nobody)))
(assert (forall ((c Call)) (not (running c))))
(assert (forall ((a Attempt)) (not (pending a))))
(assert (forall ((a Attempt) (s Slot)) (not (judged a s))))
(assert (forall ((t Tag) (b Block) (s Slot)) (not (holds t b s))))
(push 1)
(assert (not (and
  (forall ((b Block) (s Slot)) (now b s))
  (forall ((a Attempt) (s Slot)) (and (read a s) (aim a s) (late a s) (verdict a s)))
  (forall ((t Tag) (b Block) (s Slot)) (pool-1 t b s))
  (forall ((c Call)) (ended c))
  (forall ((c Call) (d Call)) (rule c d)))))
(check-sat) ; expect: unsat -- initiation: an empty pool satisfies the invariant
(pop 1)
(pop 1)

; ---- From here on the invariant holds before the step. ----
(assert (forall ((b Block) (s Slot)) (! (now b s) :pattern ((tag b s)))))
(assert (forall ((a Attempt) (s Slot)) (! (read a s) :pattern ((old-tag a s)))))
(assert (forall ((a Attempt) (s Slot)) (! (aim a s) :pattern ((old-tag a s)))))
(assert (forall ((a Attempt) (s Slot)) (! (late a s) :pattern ((old-tag a s)))))
(assert (forall ((a Attempt) (s Slot)) (! (verdict a s) :pattern ((judged a s)))))
(assert (forall ((t Tag) (b Block) (s Slot)) (! (pool-1 t b s) :pattern ((holds t b s)))))
(assert (forall ((c Call)) (! (ended c) :pattern ((running c)))))
(assert (forall ((c Call) (d Call)) (! (rule c d) :pattern ((running c) (running d)))))

; Any objects: a clause that fails after a step fails for these.
(declare-const a0 Attempt)
(declare-const b0 Block)
(declare-const s0 Slot)
(declare-const s1 Slot)
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
(assert (and (holds t0 b0 s0) (holds t1 b0 s1) (distinct t0 t1) (pending a0)))
(assert (and (call-frees (by a0)) (= (block a0) b0) (clears a0 s0)))
(check-sat) ; expect: sat -- witness: two holders in a block and a late clear about
(pop 1)

; ---- ASK: a running call asks for a compare-and-set of what it once read. ----
; It read the block at some version up to now; it may have been overtaken since.
(define-fun ask-reads ((s Slot)) Bool (= (old-tag a s) (was (block a) (old-version a) s)))
(define-fun ask-guard () Bool
  (and (not (pending a)) (running (by a)) (<= (old-version a) (version (block a)))))
(define-fun ask-pending ((x Attempt)) Bool (or (pending x) (= x a)))
(push 1)
(assert ask-guard)
(assert (forall ((s Slot)) (! (ask-reads s) :pattern ((old-tag a s)))))
(assert (forall ((s Slot)) (! (aims a s) :pattern ((old-tag a s)))))
(push 1)
(assert (ask-pending a0))
(assert (not (and (<= (old-version a0) (version (block a0)))
                  (= (old-tag a0 s0) (was (block a0) (old-version a0) s0)))))
(check-sat) ; expect: unsat -- READ consecution: ask
(pop 1)
(push 1)
(assert (ask-pending a0))
(assert (not (aims a0 s0)))
(check-sat) ; expect: unsat -- AIM consecution: ask
(pop 1)
(push 1)
(assert (and (ask-pending a0) (not (call-allocates (by a0))) (clears a0 s0)
             (= (old-version a0) (version (block a0))) (holds (old-tag a0 s0) (block a0) s0)))
(check-sat) ; expect: unsat -- LATE consecution: ask
(pop 1)
(push 1)
(assert (and (call-frees (by a)) (clears a s0) (= (old-version a) (version (block a)))))
(check-sat) ; expect: sat -- witness: a free can ask for its clear
(pop 1)
(push 1)
(assert (and (not (call-frees (by a))) (not (call-allocates (by a)))))
(assert (and (clears a s0) (clears a s1) (distinct s0 s1) (= (old-version a) (version (block a)))))
(assert (distinct (old-tag a s0) (old-tag a s1)))
(check-sat) ; expect: sat -- witness: a recovery can ask to clear two slots at once
(pop 1)
(pop 1)
; (NOW, POOL-1, JUDGED, ENDED and RULE do not mention what ASK changes.)

; ---- JUDGE: a recovery that has read a tag asks the notebook, which does not have it. ----
(define-fun judge-judged ((x Attempt) (s Slot)) Bool (or (judged x s) (and (= x a) (= s s1))))
(push 1)
(assert (and (not (pending a)) (<= (old-version a) (version (block a))) (ask-reads s1)))
(assert (not (holds (old-tag a s1) (block a) s1)))
(push 1)
(assert (judge-judged a0 s0))
(assert (not (and (<= (old-version a0) (version (block a0)))
  (=> (= (old-version a0) (version (block a0))) (not (holds (old-tag a0 s0) (block a0) s0))))))
(check-sat) ; expect: unsat -- JUDGED consecution: judge
(pop 1)
(push 1)
(assert (and (pending a0) (not (call-allocates (by a0))) (not (call-frees (by a0))) (clears a0 s0)))
(assert (not (judge-judged a0 s0)))
(check-sat) ; expect: unsat -- AIM consecution: judge
(pop 1)
(push 1)
(assert (and (= (old-version a) (version (block a))) (distinct (old-tag a s1) nobody)))
(assert (holds t0 (block a) s0))
(check-sat) ; expect: sat -- witness: a dead tag can be judged beside a held id
(pop 1)
(pop 1)
(push 1)
; The notebook is asked before the block is read: the answer is older than the tag in the slot.
(assert (and (not (pending a)) (= (old-version a) (version (block a))) (ask-reads s1)))
(assert (judge-judged a0 s0))
(assert (and (= (old-version a0) (version (block a0))) (holds (old-tag a0 s0) (block a0) s0)))
(check-sat) ; expect: sat -- mutant: a recovery that judges by an older answer condemns a holder
(pop 1)

; ---- CARRY OUT: a pending attempt meets the block as it remembers it. Timely or late. ----
(define-fun meets-version () Bool (= (version (block a)) (old-version a)))
(define-fun meets ((s Slot)) Bool (= (tag (block a) s) (old-tag a s)))
(define-fun out-version ((b Block)) Int
  (ite (= b (block a)) (+ (old-version a) 1) (version b)))
; The new value is the remembered one with some slots changed.
(define-fun out-tag ((b Block) (s Slot)) Tag
  (ite (= b (block a)) (new-tag a s) (tag b s)))
(define-fun out-was ((b Block) (v Int) (s Slot)) Tag
  (ite (and (= b (block a)) (= v (out-version b))) (out-tag b s) (was b v s)))
(define-fun out-pending ((x Attempt)) Bool (and (pending x) (distinct x a)))
; Who allocates holds from here, unless the call is over: then the slot is a phantom (POOL-7).
(define-fun out-holds ((t Tag) (b Block) (s Slot)) Bool
  (or (holds t b s)
      (and (call-allocates (by a)) (running (by a))
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
(assert (and (out-pending a0) (not (call-allocates (by a0))) (clears a0 s0)
             (= (old-version a0) (out-version (block a0)))
             (out-holds (old-tag a0 s0) (block a0) s0)))
(check-sat) ; expect: unsat -- LATE consecution: carry out
(pop 1)
(push 1)
(assert (judged a0 s0))
(assert (not (and (<= (old-version a0) (out-version (block a0)))
  (=> (= (old-version a0) (out-version (block a0)))
      (not (out-holds (old-tag a0 s0) (block a0) s0))))))
(check-sat) ; expect: unsat -- JUDGED consecution: carry out
(pop 1)
(push 1)
(assert (and (running c0) (call-frees c0)
             (out-holds (call-tag c0) (call-block c0) (call-slot c0))))
(check-sat) ; expect: unsat -- ENDED consecution: carry out
(pop 1)
(push 1)
; POOL-2: a slot goes from nobody to a tag by an allocate of that tag, and from a tag to nobody by a
; free that names the tag and this id or a recovery that judged the tag in this slot; never from one
; tag to another.
(assert (distinct (out-tag b0 s0) (tag b0 s0)))
(assert (not (or
  (and (= (tag b0 s0) nobody) (call-allocates (by a)) (= (out-tag b0 s0) (call-tag (by a))))
  (and (= (out-tag b0 s0) nobody) (frees-here (by a) (tag b0 s0) b0 s0))
  (and (= (out-tag b0 s0) nobody) (not (call-frees (by a))) (not (call-allocates (by a)))
       (judged a s0) (= (tag b0 s0) (old-tag a s0))))))
(check-sat) ; expect: unsat -- POOL-2: only (id, tag) frees (id, tag)
(pop 1)
(push 1)
(assert (and (call-allocates (by a)) (running (by a)) (out-holds t0 b0 s0) (distinct s0 (slot a))
             (= b0 (block a))))
(check-sat) ; expect: sat -- witness: an allocate can take a slot beside a held one
(pop 1)
(push 1)
(assert (and (call-frees (by a)) (clears a (call-slot (by a))) (not (running (by a)))))
(check-sat) ; expect: sat -- witness: a dead caller's clear can still succeed
(pop 1)
(pop 1)
; (AIM and RULE: nothing new is pending or running.)

(push 1)
; A put that does not compare.
(assert (and (call-allocates (by a)) (distinct (tag (block a) (slot a)) nobody)))
(assert (out-holds t0 b0 s0))
(assert (not (= (out-tag b0 s0) t0)))
(check-sat) ; expect: sat -- mutant: a put that does not compare takes a held id
(pop 1)
(push 1)
; A clear that compares the slot but not the version: a late one, after free and a new allocate.
(assert (and (call-frees (by a)) (clears a s0) (= (tag (block a) s0) (call-tag (by a)))))
(assert (and (out-holds t0 b0 s0) (= b0 (block a))))
(assert (not (= (out-tag b0 s0) t0)))
(check-sat) ; expect: sat -- mutant: a clear without its version takes an id from a later holder
(pop 1)
(pop 1)
(push 1)
; A free that does not look whose tag is in the slot before it asks.
(assert ask-guard)
(assert (forall ((s Slot)) (! (ask-reads s) :pattern ((old-tag a s)))))
(assert (and (call-frees (by a)) (clears a s0) (= (block a) (call-block (by a)))
             (= s0 (call-slot (by a)))))
(assert (= (old-version a) (version (block a))))
(assert (holds t0 (block a) s0))
(check-sat) ; expect: sat -- mutant: a free without the tag check aims at a held id
(pop 1)

; ---- START: a call begins. By the caller's rules. ----
; Nothing but a free that names the tag and the id ends a holding, by definition: that the slot keeps
; the tag until then is POOL-1.
(define-fun start-running ((x Call)) Bool (or (running x) (= x c)))
(define-fun start-holds ((t Tag) (b Block) (s Slot)) Bool
  (and (holds t b s) (not (frees-here c t b s))))
(push 1)
(assert (not (running c)))
(assert (forall ((d Call)) (! (=> (and (running d)
    (or (and (call-frees c) (call-allocates d)) (and (call-frees d) (call-allocates c))))
  (distinct (call-tag c) (call-tag d))) :pattern ((running d)))))
(push 1)
(assert (start-holds t0 b0 s0))
(assert (not (and (= (tag b0 s0) t0) (distinct t0 nobody))))
(check-sat) ; expect: unsat -- POOL-1 consecution: start
(pop 1)
(push 1)
(assert (= (old-version a0) (version (block a0))))
(assert (start-holds (old-tag a0 s0) (block a0) s0))
(assert (or (judged a0 s0) (and (pending a0) (not (call-allocates (by a0))) (clears a0 s0))))
(check-sat) ; expect: unsat -- LATE and JUDGED consecution: start
(pop 1)
(push 1)
(assert (and (start-running c0) (call-frees c0)
             (start-holds (call-tag c0) (call-block c0) (call-slot c0))))
(check-sat) ; expect: unsat -- ENDED consecution: start
(pop 1)
(push 1)
(assert (and (start-running c0) (start-running d0) (call-frees c0) (call-allocates d0)
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
  (=> (and (end-running c0) (end-running d0) (call-frees c0) (call-allocates d0))
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
       (aims a0 s0)
       (=> (and (not (call-allocates (by a0))) (clears a0 s0)
                (= (old-version a0) (version (block a0))))
           (not (holds (old-tag a0 s0) (block a0) s0)))))))
(check-sat) ; expect: unsat -- READ, AIM and LATE consecution: lose
(pop 1)
