; The heart of the pool, for any number of callers: once a refresh has returned, the count above a
; child is never again older than the child was when that refresh began (`impl/pool`: Refresh;
; load-linked / store-conditional by version). POOL-3 and POOL-4 rest on it. PROVED where unsat, for
; the transitions written here.
;
; One edge: a child and its count in its parent. The child's history is numbered: it has changed
; `changes` times, and `total` says what it held after each change. The count in the parent is
; `(total of)` for some moment `of` of that history; the proof speaks of moments, the code of totals.
;
; A refresher is one attempt to bring a count up to date. It reads the parent, then the child; or it
; changes the child itself after it has read the parent, or was told by a memory what that once was. It may stop anywhere for ever (its caller
; has died) and its write may come arbitrarily late: `Unknown` is a refresher left behind in phase 2
; and a new one that begins. Refreshers of *other* edges of the same parent write it too, and keep
; this edge's count as they remember it; so does the creation of a missing parent.
;
; Sorts are of any size.
(set-logic UFLIA)
(declare-sort Refresher 0)

(declare-fun total (Int) Int)
(declare-fun ours (Refresher) Bool) ; refreshes this edge, not another of the same parent

; The state.
(declare-const changes Int)
(declare-const version Int)
(declare-const of Int)
; -1 not begun, 0 will read the parent, 1 will read the child, 2 will write, 3 has returned.
(declare-fun phase (Refresher) Int)
(declare-fun began (Refresher) Int)       ; the child's moment when the refresh began
(declare-fun old-version (Refresher) Int) ; the remembered parent
(declare-fun old-of (Refresher) Int)
(declare-fun child-of (Refresher) Int)    ; the moment at which the child was read

; ---- The invariant, as clauses over one refresher and numbers. ----
(define-fun past ((changes Int) (of Int)) Bool (<= 0 of changes))
; SEEN: an unchanged version is an unchanged count.
(define-fun seen ((version Int) (of Int) (phase Int) (old-version Int) (old-of Int)) Bool
  (=> (<= 1 phase 2)
      (and (<= old-version version) (=> (= old-version version) (= old-of of)))))
; READ: the child was read after the refresh began.
(define-fun read ((changes Int) (phase Int) (began Int) (child-of Int)) Bool
  (and (=> (>= phase 0) (<= began changes))
       (=> (= phase 2) (<= began child-of changes))))
; ORDER: a write that can still succeed does not go back. (The parent was read before the child.)
(define-fun order ((version Int) (of Int) (phase Int) (old-version Int) (child-of Int)) Bool
  (=> (and (= phase 2) (= old-version version)) (<= of child-of)))
; RETURNED: what this file is about.
(define-fun returned ((of Int) (phase Int) (began Int)) Bool (=> (= phase 3) (<= began of)))
; All of it for one refresher; `ours` where only this edge's own matter.
(define-fun good ((changes Int) (version Int) (of Int) (ours Bool) (phase Int) (began Int)
                  (old-version Int) (old-of Int) (child-of Int)) Bool
  (and (<= (- 1) phase 3)
       (seen version of phase old-version old-of)
       (=> ours (and (read changes phase began child-of)
                     (order version of phase old-version child-of)
                     (returned of phase began)))))

; Any refresher: a clause that fails after a step fails for this one. And the step's own.
(declare-const any Refresher)
(declare-const r Refresher)

; ---- Initiation. ----
(push 1)
(assert (and (= changes 0) (= version 0) (= of 0) (= (phase any) (- 1))))
(push 1)
(assert (not (and (past changes of)
  (good changes version of (ours any) (phase any) (began any) (old-version any) (old-of any)
        (child-of any)))))
(check-sat) ; expect: unsat -- initiation: an unused edge satisfies the invariant
(pop 1)
(check-sat) ; expect: sat -- witness: there is such a start
(pop 1)

; ---- From here on the invariant holds before the step. ----
(assert (past changes of))
(assert (forall ((x Refresher)) (! (good changes version of (ours x) (phase x) (began x)
  (old-version x) (old-of x) (child-of x)) :pattern ((phase x)))))

; ---- What follows from it. ----
(push 1)
(assert (and (ours any) (= (phase any) 3) (= (began any) changes)))
(push 1)
(assert (not (= (total of) (total changes))))
(check-sat) ; expect: unsat -- POOL-4: a refresh that began after the last change leaves the count exact
(pop 1)
(check-sat) ; expect: sat -- witness: a refresh can have returned
(pop 1)

; ---- CHANGE: the child changes. ----
(push 1)
(push 1)
(assert (not (and (past (+ changes 1) of)
  (good (+ changes 1) version of (ours any) (phase any) (began any) (old-version any)
        (old-of any) (child-of any)))))
(check-sat) ; expect: unsat -- consecution: the child changes
(pop 1)
(assert (and (ours any) (= (phase any) 2) (= (old-version any) version)))
(check-sat) ; expect: sat -- witness: the child can change under a write that will succeed
(pop 1)

; ---- BEGIN ----
(push 1)
(assert (= (phase r) (- 1)))
(define-fun begun-phase ((x Refresher)) Int (ite (= x r) 0 (phase x)))
(define-fun begun-began ((x Refresher)) Int (ite (= x r) changes (began x)))
(push 1)
(assert (not (good changes version of (ours any) (begun-phase any) (begun-began any)
  (old-version any) (old-of any) (child-of any))))
(check-sat) ; expect: unsat -- consecution: begin
(pop 1)
(assert (and (ours r) (> changes of)))
(check-sat) ; expect: sat -- witness: a refresh can begin on a stale count
(pop 1)

; ---- READ THE PARENT; a mismatch of the write is such a read. ----
(push 1)
(assert (or (= (phase r) 0) (and (= (phase r) 2) (distinct (old-version r) version))))
(define-fun parent-phase ((x Refresher)) Int (ite (= x r) 1 (phase x)))
(define-fun parent-version ((x Refresher)) Int (ite (= x r) version (old-version x)))
(define-fun parent-of ((x Refresher)) Int (ite (= x r) of (old-of x)))
(push 1)
(assert (not (good changes version of (ours any) (parent-phase any) (began any)
  (parent-version any) (parent-of any) (child-of any))))
(check-sat) ; expect: unsat -- consecution: read the parent, or lose a race for it
(pop 1)
(assert (and (ours r) (= (phase r) 2)))
(check-sat) ; expect: sat -- witness: a race can be lost
(pop 1)

; ---- READ THE CHILD ----
(push 1)
(assert (= (phase r) 1))
(define-fun child-phase ((x Refresher)) Int (ite (= x r) 2 (phase x)))
(define-fun child-child-of ((x Refresher)) Int (ite (= x r) changes (child-of x)))
(push 1)
(assert (not (good changes version of (ours any) (child-phase any) (began any)
  (old-version any) (old-of any) (child-child-of any))))
(check-sat) ; expect: unsat -- consecution: read the child
(pop 1)
(assert (and (ours r) (= (old-version r) version)))
(check-sat) ; expect: sat -- witness: the child can be read while the parent has not moved
(pop 1)

; ---- OWN CHANGE: who has read the parent changes the child, and so knows it. ----
(push 1)
(assert (and (ours r) (= (phase r) 1)))
(define-fun own-phase ((x Refresher)) Int (ite (= x r) 2 (phase x)))
(define-fun own-began ((x Refresher)) Int (ite (= x r) (+ changes 1) (began x)))
(define-fun own-child-of ((x Refresher)) Int (ite (= x r) (+ changes 1) (child-of x)))
(push 1)
(assert (not (and (past (+ changes 1) of)
  (good (+ changes 1) version of (ours any) (own-phase any) (own-began any) (old-version any)
        (old-of any) (own-child-of any)))))
(check-sat) ; expect: unsat -- consecution: the child is changed by who has read the parent
(pop 1)
(assert (= (old-version r) version))
(check-sat) ; expect: sat -- witness: the parent may not have moved since it was read, be it long ago
(pop 1)

; ---- WRITE: the version has not moved. ----
(push 1)
(assert (and (= (phase r) 2) (= (old-version r) version)))
(define-fun written-of () Int (ite (ours r) (child-of r) (old-of r)))
(define-fun written-phase ((x Refresher)) Int (ite (= x r) 3 (phase x)))
(push 1)
(assert (not (and (past changes written-of)
  (good changes (+ version 1) written-of (ours any) (written-phase any) (began any)
        (old-version any) (old-of any) (child-of any)))))
(check-sat) ; expect: unsat -- consecution: write, of this edge or of another
(pop 1)
(push 1)
(assert (< written-of of))
(check-sat) ; expect: unsat -- counts never go back to an older moment of the child
(pop 1)
(push 1)
(assert (and (ours r) (ours any) (= (phase any) 3) (< of written-of changes)
             (distinct (total written-of) (total of))))
(check-sat) ; expect: sat -- witness: a write can bring a newer total after another has returned
(pop 1)
(push 1)
; The version stays: another that remembers it can still write what it read before.
(assert (not (good changes version written-of (ours any) (written-phase any) (began any)
  (old-version any) (old-of any) (child-of any))))
(check-sat) ; expect: sat -- mutant: a write that does not raise the version
(pop 1)
(push 1)
; The same as a loss: r writes what is true and returns, then q writes what it read before.
(declare-const q Refresher)
(assert (and (ours r) (ours q) (distinct q r) (= (phase q) 2) (= (old-version q) version)))
(assert (= (child-of r) (began r) changes))
(assert (distinct (total (child-of q)) (total changes)))
(check-sat) ; expect: sat -- mutant: without the version a late write undoes a finished refresh
(pop 1)
(pop 1)

; ---- Mutant: the write is left out when the count is already right. ----
(push 1)
(assert (and (ours r) (= (phase r) 2) (= (total (old-of r)) (total (child-of r)))))
(push 1)
(assert (not (returned of 3 (began r))))
(check-sat) ; expect: sat -- mutant: a refresh that leaves out the write returns too early
(pop 1)
(push 1)
; Fault 3 of specs/pool.md: r leaves it out and returns; q writes what it read before; all done, wrong.
(declare-const q Refresher)
(assert (and (ours q) (distinct q r) (= (phase q) 2)))
(assert (= (old-version q) (old-version r) version))
(assert (= (child-of r) (began r) changes))
(assert (distinct (total (child-of q)) (total changes)))
(check-sat) ; expect: sat -- mutant: then a late write makes the count wrong for ever
(pop 1)
(pop 1)

; ---- Mutant: the child is read before the parent. ----
; Phase 1 has the child and will read the parent.
(push 1)
(assert (and (ours r) (= (phase r) 1) (<= (began r) (child-of r) changes)))
(push 1)
(assert (not (order version of 2 version (child-of r))))
(check-sat) ; expect: sat -- mutant: child before parent lets a write go back
(pop 1)
(push 1)
(assert (and (ours any) (= (phase any) 3) (= (began any) changes)))
(assert (distinct (total (child-of r)) (total changes)))
(check-sat) ; expect: sat -- mutant: then a count that was exact becomes wrong
(pop 1)
(pop 1)

; ---- Up the path: edge upon edge. ----
; The child of the next edge is this parent, its moments are the parent's versions. `leaf` says which
; moment of the child a version of the parent counts; by the above it never goes back.
(push 1)
(declare-fun leaf (Int) Int)
(declare-const returned-at Int) ; the parent's version when the lower refresh returned
(declare-const upper-began Int) ; the parent's version when the upper refresh began
(declare-const upper-of Int)    ; the parent's version that the grandparent counts
(assert (and (ours r) (= (phase r) 3)))
(assert (<= (began r) (leaf returned-at)))
(assert (<= returned-at upper-began))
(push 1)
(assert (forall ((v Int) (w Int)) (! (=> (<= v w) (<= (leaf v) (leaf w)))
  :pattern ((leaf v) (leaf w)))))
(assert (<= upper-began upper-of))
(push 1)
(assert (not (<= (began r) (leaf upper-of))))
(check-sat) ; expect: unsat -- after both edges, no count on the path is older than the change
(pop 1)
(pop 1)
(push 1)
; A refresh of the upper edge that began before the lower one returned.
(assert (=> (<= returned-at upper-of) (<= (leaf returned-at) (leaf upper-of))))
(assert (not (<= (began r) (leaf upper-of))))
(check-sat) ; expect: sat -- mutant: an upper edge that is not refreshed after the lower one stays stale
(pop 1)
(pop 1)
