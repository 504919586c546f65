; REG-4 and REG-7 for any number of views, members, ballots and coordinators, and any quorums of
; which two of one view intersect: an inductive invariant of prepare, accept and handover
; (`impl/register`: acceptor.rs, coordinator.rs, handover.rs). PROVED where unsat, for the transitions
; written here.
;
; A *replica* is one member's part in one view. Ballots of a later view are above those of an
; earlier one. A proposal is one accept that a coordinator sends: one to a ballot, made from
; what a quorum's promises showed under the highest ballot (`f`, or none). Its *ancestors*
; are itself and those of `f`. Agreement: of two chosen ballots the lower is an ancestor of the higher, so
; that chains of states go on, within a view and over any number of changes of view.
;
; Messages are not here: a promise once told is told for ever, and counts at any later moment, or never.
; Loss, repetition and order are all in that. A promise that comes with an accept is a vote and then a
; promise. Collection is left out, and so are crashes: what is told is durable (REG-6).
(set-logic UF)
(declare-sort Replica 0)
(declare-sort Quorum 0)
(declare-sort Ballot 0)
(declare-sort View 0)

; Ballots and views, each in one order; `none` is below every ballot.
(declare-const none Ballot)
(declare-fun le (Ballot Ballot) Bool)
(assert (forall ((a Ballot) (b Ballot)) (or (le a b) (le b a))))
(assert (forall ((a Ballot) (b Ballot)) (=> (and (le a b) (le b a)) (= a b))))
(assert (forall ((a Ballot) (b Ballot) (c Ballot)) (=> (and (le a b) (le b c)) (le a c))))
(assert (forall ((b Ballot)) (le none b)))
(define-fun lt ((a Ballot) (b Ballot)) Bool (and (le a b) (distinct a b)))
(declare-fun vle (View View) Bool)
(assert (forall ((a View) (b View)) (or (vle a b) (vle b a))))
(assert (forall ((a View) (b View)) (=> (and (vle a b) (vle b a)) (= a b))))
(assert (forall ((a View) (b View) (c View)) (=> (and (vle a b) (vle b c)) (vle a c))))
(define-fun vlt ((a View) (b View)) Bool (and (vle a b) (distinct a b)))
; Nothing between.
(define-fun before ((u View) (v View)) Bool
  (and (vlt u v) (forall ((w View)) (=> (vlt w v) (vle w u)))))

(declare-fun view (Replica) View)
(declare-fun epoch (Ballot) View)
(declare-fun qview (Quorum) View)
(declare-fun in (Replica Quorum) Bool)
(declare-fun common (Quorum Quorum) Replica)
(assert (forall ((b Ballot) (c Ballot)) (=> (le b c) (vle (epoch b) (epoch c)))))
(assert (forall ((r Replica) (q Quorum)) (=> (in r q) (= (view r) (qview q)))))
; A replica that is in both.
(assert (forall ((p Quorum) (q Quorum)) (=> (= (qview p) (qview q))
  (and (in (common p q) p) (in (common p q) q)))))

; The state.
(declare-fun active (Replica) Bool)
(declare-fun sealed (Replica) Bool)
(declare-fun promise (Replica) Ballot)
(declare-fun has (Replica Ballot) Bool)        ; voted for, or copied at activation
(declare-fun copy (Replica) Ballot)           ; the highest that was copied, or none
(declare-fun told (Replica Ballot) Bool)       ; has told its promise of this ballot,
(declare-fun last (Replica Ballot) Ballot)        ; and that this was the highest it had
(declare-fun proposed (Ballot) Bool)
; Its history, which nobody reads but the proof.
(declare-fun ancestor (Ballot Ballot) Bool)
(declare-fun by (Ballot) Quorum)               ; whose promises a proposal had
(declare-fun blocks (Ballot Ballot) Quorum) ; why a lower ballot that is no ancestor is not chosen
(declare-fun bars (Replica Ballot) Quorum)     ; the same, for what an active replica has not copied
(declare-fun closed (View) Bool)             ; a quorum of this view is sealed:
(declare-fun seal (View) Quorum)             ; this one

; ---- The invariant holds before each step. ----
; ANCESTOR: not above, and everything of itself.
(assert
  (forall ((c Ballot) (b Ballot))
    (and
      (=> (ancestor c b) (and (le c b) (proposed c) (proposed b)))
      (=> (proposed b) (and (distinct b none) (ancestor b b))))))
; KEPT: what a replica has was proposed, and of its own view is promised.
(assert
  (forall ((r Replica) (c Ballot))
    (=>
      (has r c)
      (and (proposed c) (active r) (vle (epoch c) (view r)) (=> (= (epoch c) (view r)) (le c (promise r)))))))
; IDLE: who is not active has promised nothing; who is sealed was active.
(assert (forall ((r Replica)) (and (=> (not (active r)) (= (promise r) none)) (=> (sealed r) (active r)))))
; COPIED: of an earlier view, and still there.
(assert
  (forall ((r Replica))
    (=> (and (active r) (distinct (copy r) none)) (and (has r (copy r)) (vlt (epoch (copy r)) (view r))))))
; TOLD: nothing was voted for since between what was shown and what was promised.
(assert
  (forall ((r Replica) (b Ballot) (c Ballot))
    (=>
      (told r b)
      (and
        (active r)
        (= (epoch b) (view r))
        (le b (promise r))
        (lt (last r b) b)
        (le (copy r) (last r b))
        (=> (distinct (last r b) none) (has r (last r b)))
        (=> (and (lt (last r b) c) (lt c b)) (not (has r c)))))))
; BY: who has promised a proposal keeps to it.
(assert
  (forall ((r Replica) (b Ballot))
    (=> (proposed b) (and (= (qview (by b)) (epoch b)) (=> (in r (by b)) (le b (promise r)))))))
; SAFE: a lower proposal is an ancestor or a quorum has not voted for it and never will.
(assert
  (forall ((b Ballot) (c Ballot) (r Replica))
    (=>
      (and (proposed b) (proposed c) (lt c b) (not (ancestor c b)))
      (and
        (= (qview (blocks b c)) (epoch c))
        (=> (in r (blocks b c)) (and (not (has r c)) (or (lt c (promise r)) (sealed r))))))))
; REG-4: the same of an active replica and all that was proposed before its view.
(assert
  (forall ((m Replica) (c Ballot) (r Replica))
    (=>
      (and (active m) (proposed c) (vlt (epoch c) (view m)) (not (ancestor c (copy m))))
      (and
        (= (qview (bars m c)) (epoch c))
        (=> (in r (bars m c)) (and (not (has r c)) (or (lt c (promise r)) (sealed r))))))))
; CLOSED: behind everything active or proposed the views before are sealed.
(assert
  (forall ((r Replica) (b Ballot) (u View))
    (and
      (=> (and (active r) (vlt u (view r))) (closed u))
      (=> (and (proposed b) (vlt u (epoch b))) (closed u))
      (=> (closed u) (and (= (qview (seal u)) u) (=> (in r (seal u)) (sealed r)))))))

; ---- INITIATION: the members of the first view are active, and nothing has happened. ----
(push 1)
(declare-const i-anc-c Ballot)
(declare-const i-anc-b Ballot)
(declare-const i-kept-r Replica)
(declare-const i-kept-c Ballot)
(declare-const i-idle-r Replica)
(declare-const i-copied-r Replica)
(declare-const i-told-r Replica)
(declare-const i-told-b Ballot)
(declare-const i-told-c Ballot)
(declare-const i-quorum-r Replica)
(declare-const i-quorum-b Ballot)
(declare-const i-safe-b Ballot)
(declare-const i-safe-c Ballot)
(declare-const i-safe-r Replica)
(declare-const i-reg4-m Replica)
(declare-const i-reg4-c Ballot)
(declare-const i-reg4-r Replica)
(declare-const i-closes-r Replica)
(declare-const i-closes-b Ballot)
(declare-const i-closes-u View)
(declare-const first View)
(assert (forall ((u View)) (vle first u)))
(assert (forall ((r Replica)) (= (active r) (= (view r) first))))
(assert (forall ((r Replica)) (and (not (sealed r)) (= (promise r) none) (= (copy r) none))))
(assert (forall ((r Replica) (b Ballot)) (and (not (has r b)) (not (told r b)) (not (proposed b)))))
(assert (forall ((b Ballot) (c Ballot)) (not (ancestor b c))))
(assert (forall ((u View)) (not (closed u))))
(assert
  (or
    (not
      (and
        (=> (ancestor i-anc-c i-anc-b) (and (le i-anc-c i-anc-b) (proposed i-anc-c) (proposed i-anc-b)))
        (=> (proposed i-anc-b) (and (distinct i-anc-b none) (ancestor i-anc-b i-anc-b)))))
    (not
      (=>
        (has i-kept-r i-kept-c)
        (and
          (proposed i-kept-c)
          (active i-kept-r)
          (vle (epoch i-kept-c) (view i-kept-r))
          (=> (= (epoch i-kept-c) (view i-kept-r)) (le i-kept-c (promise i-kept-r))))))
    (not (and (=> (not (active i-idle-r)) (= (promise i-idle-r) none)) (=> (sealed i-idle-r) (active i-idle-r))))
    (not
      (=>
        (and (active i-copied-r) (distinct (copy i-copied-r) none))
        (and (has i-copied-r (copy i-copied-r)) (vlt (epoch (copy i-copied-r)) (view i-copied-r)))))
    (not
      (=>
        (told i-told-r i-told-b)
        (and
          (active i-told-r)
          (= (epoch i-told-b) (view i-told-r))
          (le i-told-b (promise i-told-r))
          (lt (last i-told-r i-told-b) i-told-b)
          (le (copy i-told-r) (last i-told-r i-told-b))
          (=> (distinct (last i-told-r i-told-b) none) (has i-told-r (last i-told-r i-told-b)))
          (=> (and (lt (last i-told-r i-told-b) i-told-c) (lt i-told-c i-told-b)) (not (has i-told-r i-told-c))))))
    (not
      (=>
        (proposed i-quorum-b)
        (and
          (= (qview (by i-quorum-b)) (epoch i-quorum-b))
          (=> (in i-quorum-r (by i-quorum-b)) (le i-quorum-b (promise i-quorum-r))))))
    (not
      (=>
        (and (proposed i-safe-b) (proposed i-safe-c) (lt i-safe-c i-safe-b) (not (ancestor i-safe-c i-safe-b)))
        (and
          (= (qview (blocks i-safe-b i-safe-c)) (epoch i-safe-c))
          (=>
            (in i-safe-r (blocks i-safe-b i-safe-c))
            (and (not (has i-safe-r i-safe-c)) (or (lt i-safe-c (promise i-safe-r)) (sealed i-safe-r)))))))
    (not
      (=>
        (and
          (active i-reg4-m)
          (proposed i-reg4-c)
          (vlt (epoch i-reg4-c) (view i-reg4-m))
          (not (ancestor i-reg4-c (copy i-reg4-m))))
        (and
          (= (qview (bars i-reg4-m i-reg4-c)) (epoch i-reg4-c))
          (=>
            (in i-reg4-r (bars i-reg4-m i-reg4-c))
            (and (not (has i-reg4-r i-reg4-c)) (or (lt i-reg4-c (promise i-reg4-r)) (sealed i-reg4-r)))))))
    (not
      (and
        (=> (and (active i-closes-r) (vlt i-closes-u (view i-closes-r))) (closed i-closes-u))
        (=> (and (proposed i-closes-b) (vlt i-closes-u (epoch i-closes-b))) (closed i-closes-u))
        (=>
          (closed i-closes-u)
          (and (= (qview (seal i-closes-u)) i-closes-u) (=> (in i-closes-r (seal i-closes-u)) (sealed i-closes-r))))))))
(check-sat) ; expect: unsat -- initiation
(pop 1)

; ---- PROMISE: a replica promises b0 and shows l. ----
(push 1)
(declare-const r0 Replica)
(declare-const b0 Ballot)
(declare-const l Ballot)
(assert
  (and
    (active r0)
    (not (sealed r0))
    (= (epoch b0) (view r0))
    (le (promise r0) b0)
    (not (told r0 b0))
    (distinct b0 none)
    (lt l b0)
    (=> (distinct l none) (has r0 l))
    (forall ((c Ballot)) (=> (and (has r0 c) (lt c b0)) (le c l)))))
(define-fun promise2 ((r Replica)) Ballot (ite (= r r0) b0 (promise r)))
(define-fun told2 ((r Replica) (b Ballot)) Bool (or (told r b) (and (= r r0) (= b b0))))
(define-fun last2 ((r Replica) (b Ballot)) Ballot (ite (and (= r r0) (= b b0)) l (last r b)))
(push 1)
(declare-const kr Replica)
(declare-const kc Ballot)
(assert
  (not
    (let ((r kr) (c kc))
      (=>
        (has r c)
        (and (proposed c) (active r) (vle (epoch c) (view r)) (=> (= (epoch c) (view r)) (le c (promise2 r))))))))
(check-sat) ; expect: unsat -- promise keeps kept
(pop 1)
(push 1)
(declare-const kr Replica)
(assert (not (let ((r kr)) (and (=> (not (active r)) (= (promise2 r) none)) (=> (sealed r) (active r))))))
(check-sat) ; expect: unsat -- promise keeps idle
(pop 1)
(push 1)
(declare-const kr Replica)
(declare-const kb Ballot)
(declare-const kc Ballot)
(assert
  (not
    (let ((r kr) (b kb) (c kc))
      (=>
        (told2 r b)
        (and
          (active r)
          (= (epoch b) (view r))
          (le b (promise2 r))
          (lt (last2 r b) b)
          (le (copy r) (last2 r b))
          (=> (distinct (last2 r b) none) (has r (last2 r b)))
          (=> (and (lt (last2 r b) c) (lt c b)) (not (has r c))))))))
(check-sat) ; expect: unsat -- promise keeps told
(pop 1)
(push 1)
(declare-const kr Replica)
(declare-const kb Ballot)
(assert
  (not
    (let ((r kr) (b kb)) (=> (proposed b) (and (= (qview (by b)) (epoch b)) (=> (in r (by b)) (le b (promise2 r))))))))
(check-sat) ; expect: unsat -- promise keeps quorum
(pop 1)
(push 1)
(declare-const kb Ballot)
(declare-const kc Ballot)
(declare-const kr Replica)
(assert
  (not
    (let ((b kb) (c kc) (r kr))
      (=>
        (and (proposed b) (proposed c) (lt c b) (not (ancestor c b)))
        (and
          (= (qview (blocks b c)) (epoch c))
          (=> (in r (blocks b c)) (and (not (has r c)) (or (lt c (promise2 r)) (sealed r)))))))))
(check-sat) ; expect: unsat -- promise keeps safe
(pop 1)
(push 1)
(declare-const km Replica)
(declare-const kc Ballot)
(declare-const kr Replica)
(assert
  (not
    (let ((m km) (c kc) (r kr))
      (=>
        (and (active m) (proposed c) (vlt (epoch c) (view m)) (not (ancestor c (copy m))))
        (and
          (= (qview (bars m c)) (epoch c))
          (=> (in r (bars m c)) (and (not (has r c)) (or (lt c (promise2 r)) (sealed r)))))))))
(check-sat) ; expect: unsat -- promise keeps reg4
(pop 1)
(pop 1)

; ---- VOTE: a replica accepts the proposal of b0. ----
(push 1)
(declare-const r0 Replica)
(declare-const b0 Ballot)
(assert (and (active r0) (not (sealed r0)) (= (epoch b0) (view r0)) (le (promise r0) b0) (proposed b0)))
(define-fun promise2 ((r Replica)) Ballot (ite (= r r0) b0 (promise r)))
(define-fun has2 ((r Replica) (b Ballot)) Bool (or (has r b) (and (= r r0) (= b b0))))
(push 1)
(declare-const kr Replica)
(declare-const kc Ballot)
(assert
  (not
    (let ((r kr) (c kc))
      (=>
        (has2 r c)
        (and (proposed c) (active r) (vle (epoch c) (view r)) (=> (= (epoch c) (view r)) (le c (promise2 r))))))))
(check-sat) ; expect: unsat -- vote keeps kept
(pop 1)
(push 1)
(declare-const kr Replica)
(assert (not (let ((r kr)) (and (=> (not (active r)) (= (promise2 r) none)) (=> (sealed r) (active r))))))
(check-sat) ; expect: unsat -- vote keeps idle
(pop 1)
(push 1)
(declare-const kr Replica)
(assert
  (not
    (let ((r kr))
      (=> (and (active r) (distinct (copy r) none)) (and (has2 r (copy r)) (vlt (epoch (copy r)) (view r)))))))
(check-sat) ; expect: unsat -- vote keeps copied
(pop 1)
(push 1)
(declare-const kr Replica)
(declare-const kb Ballot)
(declare-const kc Ballot)
(assert
  (not
    (let ((r kr) (b kb) (c kc))
      (=>
        (told r b)
        (and
          (active r)
          (= (epoch b) (view r))
          (le b (promise2 r))
          (lt (last r b) b)
          (le (copy r) (last r b))
          (=> (distinct (last r b) none) (has2 r (last r b)))
          (=> (and (lt (last r b) c) (lt c b)) (not (has2 r c))))))))
(check-sat) ; expect: unsat -- vote keeps told
(pop 1)
(push 1)
(declare-const kr Replica)
(declare-const kb Ballot)
(assert
  (not
    (let ((r kr) (b kb)) (=> (proposed b) (and (= (qview (by b)) (epoch b)) (=> (in r (by b)) (le b (promise2 r))))))))
(check-sat) ; expect: unsat -- vote keeps quorum
(pop 1)
(push 1)
(declare-const kb Ballot)
(declare-const kc Ballot)
(declare-const kr Replica)
(assert
  (not
    (let ((b kb) (c kc) (r kr))
      (=>
        (and (proposed b) (proposed c) (lt c b) (not (ancestor c b)))
        (and
          (= (qview (blocks b c)) (epoch c))
          (=> (in r (blocks b c)) (and (not (has2 r c)) (or (lt c (promise2 r)) (sealed r)))))))))
(check-sat) ; expect: unsat -- vote keeps safe
(pop 1)
(push 1)
(declare-const km Replica)
(declare-const kc Ballot)
(declare-const kr Replica)
(assert
  (not
    (let ((m km) (c kc) (r kr))
      (=>
        (and (active m) (proposed c) (vlt (epoch c) (view m)) (not (ancestor c (copy m))))
        (and
          (= (qview (bars m c)) (epoch c))
          (=> (in r (bars m c)) (and (not (has2 r c)) (or (lt c (promise2 r)) (sealed r)))))))))
(check-sat) ; expect: unsat -- vote keeps reg4
(pop 1)
(pop 1)

; ---- PROPOSE: a quorum q0 has told its promises of b0, and f is the highest that they show. ----
(push 1)
(declare-const b0 Ballot)
(declare-const q0 Quorum)
(declare-const f Ballot)
(declare-const w Replica)
(assert
  (and
    (not (proposed b0))
    (distinct b0 none)
    (= (qview q0) (epoch b0))
    (in (common q0 q0) q0)
    (forall ((r Replica)) (=> (in r q0) (and (told r b0) (le (last r b0) f))))
    (=> (distinct f none) (and (in w q0) (= (last w b0) f)))))
(define-fun proposed2 ((b Ballot)) Bool (or (proposed b) (= b b0)))
(define-fun ancestor2 ((c Ballot) (b Ballot)) Bool
  (or (ancestor c b) (and (= b b0) (or (= c b0) (and (distinct f none) (ancestor c f))))))
(define-fun by2 ((b Ballot)) Quorum (ite (= b b0) q0 (by b)))
(define-fun blocks2 ((b Ballot) (c Ballot)) Quorum
  (ite
    (= b b0)
    (ite (lt f c) (ite (= (epoch c) (epoch b0)) q0 (bars (common q0 q0) c)) (blocks f c))
    (ite (= c b0) (ite (= (epoch b) (epoch b0)) (by b) (seal (epoch b0))) (blocks b c))))
(define-fun bars2 ((r Replica) (c Ballot)) Quorum (ite (= c b0) (seal (epoch b0)) (bars r c)))
(push 1)
(declare-const kc Ballot)
(declare-const kb Ballot)
(assert
  (not
    (let ((c kc) (b kb))
      (and
        (=> (ancestor2 c b) (and (le c b) (proposed2 c) (proposed2 b)))
        (=> (proposed2 b) (and (distinct b none) (ancestor2 b b)))))))
(check-sat) ; expect: unsat -- propose keeps anc
(pop 1)
(push 1)
(declare-const kr Replica)
(declare-const kc Ballot)
(assert
  (not
    (let ((r kr) (c kc))
      (=>
        (has r c)
        (and (proposed2 c) (active r) (vle (epoch c) (view r)) (=> (= (epoch c) (view r)) (le c (promise r))))))))
(check-sat) ; expect: unsat -- propose keeps kept
(pop 1)
(push 1)
(declare-const kr Replica)
(declare-const kb Ballot)
(assert
  (not
    (let ((r kr) (b kb))
      (=> (proposed2 b) (and (= (qview (by2 b)) (epoch b)) (=> (in r (by2 b)) (le b (promise r))))))))
(check-sat) ; expect: unsat -- propose keeps quorum
(pop 1)
(push 1)
(declare-const kb Ballot)
(declare-const kc Ballot)
(declare-const kr Replica)
(assert
  (not
    (let ((b kb) (c kc) (r kr))
      (=>
        (and (proposed2 b) (proposed2 c) (lt c b) (not (ancestor2 c b)))
        (and
          (= (qview (blocks2 b c)) (epoch c))
          (=> (in r (blocks2 b c)) (and (not (has r c)) (or (lt c (promise r)) (sealed r)))))))))
(check-sat) ; expect: unsat -- propose keeps safe
(pop 1)
(push 1)
(declare-const km Replica)
(declare-const kc Ballot)
(declare-const kr Replica)
(assert
  (not
    (let ((m km) (c kc) (r kr))
      (=>
        (and (active m) (proposed2 c) (vlt (epoch c) (view m)) (not (ancestor2 c (copy m))))
        (and
          (= (qview (bars2 m c)) (epoch c))
          (=> (in r (bars2 m c)) (and (not (has r c)) (or (lt c (promise r)) (sealed r)))))))))
(check-sat) ; expect: unsat -- propose keeps reg4
(pop 1)
(push 1)
(declare-const kr Replica)
(declare-const kb Ballot)
(declare-const ku View)
(assert
  (not
    (let ((r kr) (b kb) (u ku))
      (and
        (=> (and (active r) (vlt u (view r))) (closed u))
        (=> (and (proposed2 b) (vlt u (epoch b))) (closed u))
        (=> (closed u) (and (= (qview (seal u)) u) (=> (in r (seal u)) (sealed r))))))))
(check-sat) ; expect: unsat -- propose keeps closes
(pop 1)
(pop 1)

; ---- SEAL: a replica stops to vote. ----
(push 1)
(declare-const r0 Replica)
(assert (active r0))
(define-fun sealed2 ((r Replica)) Bool (or (sealed r) (= r r0)))
(push 1)
(declare-const kr Replica)
(assert (not (let ((r kr)) (and (=> (not (active r)) (= (promise r) none)) (=> (sealed2 r) (active r))))))
(check-sat) ; expect: unsat -- seal keeps idle
(pop 1)
(push 1)
(declare-const kb Ballot)
(declare-const kc Ballot)
(declare-const kr Replica)
(assert
  (not
    (let ((b kb) (c kc) (r kr))
      (=>
        (and (proposed b) (proposed c) (lt c b) (not (ancestor c b)))
        (and
          (= (qview (blocks b c)) (epoch c))
          (=> (in r (blocks b c)) (and (not (has r c)) (or (lt c (promise r)) (sealed2 r)))))))))
(check-sat) ; expect: unsat -- seal keeps safe
(pop 1)
(push 1)
(declare-const km Replica)
(declare-const kc Ballot)
(declare-const kr Replica)
(assert
  (not
    (let ((m km) (c kc) (r kr))
      (=>
        (and (active m) (proposed c) (vlt (epoch c) (view m)) (not (ancestor c (copy m))))
        (and
          (= (qview (bars m c)) (epoch c))
          (=> (in r (bars m c)) (and (not (has r c)) (or (lt c (promise r)) (sealed2 r)))))))))
(check-sat) ; expect: unsat -- seal keeps reg4
(pop 1)
(push 1)
(declare-const kr Replica)
(declare-const kb Ballot)
(declare-const ku View)
(assert
  (not
    (let ((r kr) (b kb) (u ku))
      (and
        (=> (and (active r) (vlt u (view r))) (closed u))
        (=> (and (proposed b) (vlt u (epoch b))) (closed u))
        (=> (closed u) (and (= (qview (seal u)) u) (=> (in r (seal u)) (sealed2 r))))))))
(check-sat) ; expect: unsat -- seal keeps closes
(pop 1)
(pop 1)

; ---- ACTIVATE: a replica has the snapshots of a sealed quorum s0 of the view before; h is the highest there. ----
(push 1)
(declare-const r0 Replica)
(declare-const s0 Quorum)
(declare-const h Ballot)
(declare-const w Replica)
(assert
  (and
    (not (active r0))
    (before (qview s0) (view r0))
    (in (common s0 s0) s0)
    (forall ((r Replica)) (=> (in r s0) (and (active r) (sealed r))))
    (forall ((r Replica) (c Ballot)) (=> (and (in r s0) (has r c)) (le c h)))
    (=> (distinct h none) (and (in w s0) (has w h)))))
(define-fun active2 ((r Replica)) Bool (or (active r) (= r r0)))
(define-fun copy2 ((r Replica)) Ballot (ite (= r r0) h (copy r)))
(define-fun has2 ((r Replica) (b Ballot)) Bool (or (has r b) (and (= r r0) (= b h) (distinct h none))))
(define-fun bars2 ((r Replica) (c Ballot)) Quorum
  (ite (= r r0) (ite (lt h c) (ite (= (epoch c) (qview s0)) s0 (bars (common s0 s0) c)) (blocks h c)) (bars r c)))
(define-fun closed2 ((u View)) Bool (or (closed u) (= u (qview s0))))
(define-fun seal2 ((u View)) Quorum (ite (and (= u (qview s0)) (not (closed u))) s0 (seal u)))
(push 1)
(declare-const kr Replica)
(declare-const kc Ballot)
(assert
  (not
    (let ((r kr) (c kc))
      (=>
        (has2 r c)
        (and (proposed c) (active2 r) (vle (epoch c) (view r)) (=> (= (epoch c) (view r)) (le c (promise r))))))))
(check-sat) ; expect: unsat -- activate keeps kept
(pop 1)
(push 1)
(declare-const kr Replica)
(assert (not (let ((r kr)) (and (=> (not (active2 r)) (= (promise r) none)) (=> (sealed r) (active2 r))))))
(check-sat) ; expect: unsat -- activate keeps idle
(pop 1)
(push 1)
(declare-const kr Replica)
(assert
  (not
    (let ((r kr))
      (=> (and (active2 r) (distinct (copy2 r) none)) (and (has2 r (copy2 r)) (vlt (epoch (copy2 r)) (view r)))))))
(check-sat) ; expect: unsat -- activate keeps copied
(pop 1)
(push 1)
(declare-const kr Replica)
(declare-const kb Ballot)
(declare-const kc Ballot)
(assert
  (not
    (let ((r kr) (b kb) (c kc))
      (=>
        (told r b)
        (and
          (active2 r)
          (= (epoch b) (view r))
          (le b (promise r))
          (lt (last r b) b)
          (le (copy2 r) (last r b))
          (=> (distinct (last r b) none) (has2 r (last r b)))
          (=> (and (lt (last r b) c) (lt c b)) (not (has2 r c))))))))
(check-sat) ; expect: unsat -- activate keeps told
(pop 1)
(push 1)
(declare-const kb Ballot)
(declare-const kc Ballot)
(declare-const kr Replica)
(assert
  (not
    (let ((b kb) (c kc) (r kr))
      (=>
        (and (proposed b) (proposed c) (lt c b) (not (ancestor c b)))
        (and
          (= (qview (blocks b c)) (epoch c))
          (=> (in r (blocks b c)) (and (not (has2 r c)) (or (lt c (promise r)) (sealed r)))))))))
(check-sat) ; expect: unsat -- activate keeps safe
(pop 1)
(push 1)
(declare-const km Replica)
(declare-const kc Ballot)
(declare-const kr Replica)
(assert
  (not
    (let ((m km) (c kc) (r kr))
      (=>
        (and (active2 m) (proposed c) (vlt (epoch c) (view m)) (not (ancestor c (copy2 m))))
        (and
          (= (qview (bars2 m c)) (epoch c))
          (=> (in r (bars2 m c)) (and (not (has2 r c)) (or (lt c (promise r)) (sealed r)))))))))
(check-sat) ; expect: unsat -- activate keeps reg4
(pop 1)
(push 1)
(declare-const kr Replica)
(declare-const kb Ballot)
(declare-const ku View)
(assert
  (not
    (let ((r kr) (b kb) (u ku))
      (and
        (=> (and (active2 r) (vlt u (view r))) (closed2 u))
        (=> (and (proposed b) (vlt u (epoch b))) (closed2 u))
        (=> (closed2 u) (and (= (qview (seal2 u)) u) (=> (in r (seal2 u)) (sealed r))))))))
(check-sat) ; expect: unsat -- activate keeps closes
(pop 1)
(pop 1)

; ---- COPY: a replica has the snapshot of an active peer p; h is the highest there. ----
(push 1)
(declare-const r0 Replica)
(declare-const p Replica)
(declare-const h Ballot)
(assert
  (and
    (not (active r0))
    (active p)
    (= (view p) (view r0))
    (=> (distinct h none) (has p h))
    (forall ((c Ballot)) (=> (has p c) (le c h)))))
(define-fun active2 ((r Replica)) Bool (or (active r) (= r r0)))
(define-fun copy2 ((r Replica)) Ballot (ite (= r r0) (copy p) (copy r)))
(define-fun promise2 ((r Replica)) Ballot
  (ite (and (= r r0) (distinct h none) (= (epoch h) (view r0))) h (promise r)))
(define-fun has2 ((r Replica) (b Ballot)) Bool
  (or (has r b) (and (= r r0) (distinct b none) (or (= b h) (= b (copy p))))))
(define-fun bars2 ((r Replica) (c Ballot)) Quorum (ite (= r r0) (bars p c) (bars r c)))
(push 1)
(declare-const kr Replica)
(declare-const kc Ballot)
(assert
  (not
    (let ((r kr) (c kc))
      (=>
        (has2 r c)
        (and (proposed c) (active2 r) (vle (epoch c) (view r)) (=> (= (epoch c) (view r)) (le c (promise2 r))))))))
(check-sat) ; expect: unsat -- copy keeps kept
(pop 1)
(push 1)
(declare-const kr Replica)
(assert (not (let ((r kr)) (and (=> (not (active2 r)) (= (promise2 r) none)) (=> (sealed r) (active2 r))))))
(check-sat) ; expect: unsat -- copy keeps idle
(pop 1)
(push 1)
(declare-const kr Replica)
(assert
  (not
    (let ((r kr))
      (=> (and (active2 r) (distinct (copy2 r) none)) (and (has2 r (copy2 r)) (vlt (epoch (copy2 r)) (view r)))))))
(check-sat) ; expect: unsat -- copy keeps copied
(pop 1)
(push 1)
(declare-const kr Replica)
(declare-const kb Ballot)
(declare-const kc Ballot)
(assert
  (not
    (let ((r kr) (b kb) (c kc))
      (=>
        (told r b)
        (and
          (active2 r)
          (= (epoch b) (view r))
          (le b (promise2 r))
          (lt (last r b) b)
          (le (copy2 r) (last r b))
          (=> (distinct (last r b) none) (has2 r (last r b)))
          (=> (and (lt (last r b) c) (lt c b)) (not (has2 r c))))))))
(check-sat) ; expect: unsat -- copy keeps told
(pop 1)
(push 1)
(declare-const kr Replica)
(declare-const kb Ballot)
(assert
  (not
    (let ((r kr) (b kb)) (=> (proposed b) (and (= (qview (by b)) (epoch b)) (=> (in r (by b)) (le b (promise2 r))))))))
(check-sat) ; expect: unsat -- copy keeps quorum
(pop 1)
(push 1)
(declare-const kb Ballot)
(declare-const kc Ballot)
(declare-const kr Replica)
(assert
  (not
    (let ((b kb) (c kc) (r kr))
      (=>
        (and (proposed b) (proposed c) (lt c b) (not (ancestor c b)))
        (and
          (= (qview (blocks b c)) (epoch c))
          (=> (in r (blocks b c)) (and (not (has2 r c)) (or (lt c (promise2 r)) (sealed r)))))))))
(check-sat) ; expect: unsat -- copy keeps safe
(pop 1)
(push 1)
(declare-const km Replica)
(declare-const kc Ballot)
(declare-const kr Replica)
(assert
  (not
    (let ((m km) (c kc) (r kr))
      (=>
        (and (active2 m) (proposed c) (vlt (epoch c) (view m)) (not (ancestor c (copy2 m))))
        (and
          (= (qview (bars2 m c)) (epoch c))
          (=> (in r (bars2 m c)) (and (not (has2 r c)) (or (lt c (promise2 r)) (sealed r)))))))))
(check-sat) ; expect: unsat -- copy keeps reg4
(pop 1)
(push 1)
(declare-const kr Replica)
(declare-const kb Ballot)
(declare-const ku View)
(assert
  (not
    (let ((r kr) (b kb) (u ku))
      (and
        (=> (and (active2 r) (vlt u (view r))) (closed u))
        (=> (and (proposed b) (vlt u (epoch b))) (closed u))
        (=> (closed u) (and (= (qview (seal u)) u) (=> (in r (seal u)) (sealed r))))))))
(check-sat) ; expect: unsat -- copy keeps closes
(pop 1)
(pop 1)

; ---- Agreement. ----
(push 1)
(declare-const lower Ballot)
(declare-const higher Ballot)
(declare-const q1 Quorum)
(declare-const q2 Quorum)
(assert (and (= (qview q1) (epoch lower)) (= (qview q2) (epoch higher)) (lt lower higher)))
(assert (forall ((r Replica)) (=> (in r q1) (has r lower))))
(assert (forall ((r Replica)) (=> (in r q2) (has r higher))))
(assert (and (in (common q1 q1) q1) (in (common q2 q2) q2) (in (common q1 (blocks higher lower)) q1)))
(assert (not (ancestor lower higher)))
(check-sat) ; expect: unsat -- of two chosen ballots the lower is an ancestor of the higher
(pop 1)

; ---- Mutants: one detail changed, and a step leaves the invariant. ----
(push 1)
; A few of each are enough for what follows.
(declare-const r-0 Replica)
(declare-const r-1 Replica)
(declare-const r-2 Replica)
(declare-const r-3 Replica)
(assert (forall ((x Replica)) (or (= x r-0) (= x r-1) (= x r-2) (= x r-3))))
(declare-const q-0 Quorum)
(declare-const q-1 Quorum)
(assert (forall ((x Quorum)) (or (= x q-0) (= x q-1))))
(declare-const b-0 Ballot)
(declare-const b-1 Ballot)
(declare-const b-2 Ballot)
(assert (forall ((x Ballot)) (or (= x b-0) (= x b-1) (= x b-2))))
(declare-const v-0 View)
(declare-const v-1 View)
(assert (forall ((x View)) (or (= x v-0) (= x v-1))))
(push 1)
(declare-const r0 Replica)
(declare-const b0 Ballot)
(assert (and (active r0) (not (sealed r0)) (= (epoch b0) (view r0)) true (proposed b0)))
(define-fun promise2 ((r Replica)) Ballot (ite (= r r0) b0 (promise r)))
(define-fun has2 ((r Replica) (b Ballot)) Bool (or (has r b) (and (= r r0) (= b b0))))
(declare-const kb Ballot)
(declare-const kc Ballot)
(declare-const kr Replica)
(assert
  (not
    (let ((b kb) (c kc) (r kr))
      (=>
        (and (proposed b) (proposed c) (lt c b) (not (ancestor c b)))
        (and
          (= (qview (blocks b c)) (epoch c))
          (=> (in r (blocks b c)) (and (not (has2 r c)) (or (lt c (promise2 r)) (sealed r)))))))))
(check-sat) ; expect: sat -- mutant: a vote below the promise
(pop 1)
(push 1)
(declare-const r0 Replica)
(declare-const b0 Ballot)
(assert (and (active r0) true (= (epoch b0) (view r0)) (le (promise r0) b0) (proposed b0)))
(define-fun promise2 ((r Replica)) Ballot (ite (= r r0) b0 (promise r)))
(define-fun has2 ((r Replica) (b Ballot)) Bool (or (has r b) (and (= r r0) (= b b0))))
(declare-const kb Ballot)
(declare-const kc Ballot)
(declare-const kr Replica)
(assert
  (not
    (let ((b kb) (c kc) (r kr))
      (=>
        (and (proposed b) (proposed c) (lt c b) (not (ancestor c b)))
        (and
          (= (qview (blocks b c)) (epoch c))
          (=> (in r (blocks b c)) (and (not (has2 r c)) (or (lt c (promise2 r)) (sealed r)))))))))
(check-sat) ; expect: sat -- mutant: a vote of a sealed replica
(pop 1)
(push 1)
(declare-const r0 Replica)
(declare-const b0 Ballot)
(assert (and true (not (sealed r0)) (= (epoch b0) (view r0)) (le (promise r0) b0) (proposed b0)))
(define-fun promise2 ((r Replica)) Ballot (ite (= r r0) b0 (promise r)))
(define-fun has2 ((r Replica) (b Ballot)) Bool (or (has r b) (and (= r r0) (= b b0))))
(declare-const kr Replica)
(declare-const kc Ballot)
(assert
  (not
    (let ((r kr) (c kc))
      (=>
        (has2 r c)
        (and (proposed c) (active r) (vle (epoch c) (view r)) (=> (= (epoch c) (view r)) (le c (promise2 r))))))))
(check-sat) ; expect: sat -- mutant: a vote of a learner
(pop 1)
(push 1)
(declare-const r0 Replica)
(declare-const b0 Ballot)
(declare-const l Ballot)
(assert
  (and
    (active r0)
    (not (sealed r0))
    (= (epoch b0) (view r0))
    (le (promise r0) b0)
    (not (told r0 b0))
    (distinct b0 none)
    (lt l b0)
    (=> (distinct l none) (has r0 l))
    (forall ((c Ballot)) (=> (and (has r0 c) (lt c b0)) true))))
(define-fun promise2 ((r Replica)) Ballot (ite (= r r0) b0 (promise r)))
(define-fun told2 ((r Replica) (b Ballot)) Bool (or (told r b) (and (= r r0) (= b b0))))
(define-fun last2 ((r Replica) (b Ballot)) Ballot (ite (and (= r r0) (= b b0)) l (last r b)))
(declare-const kr Replica)
(declare-const kb Ballot)
(declare-const kc Ballot)
(assert
  (not
    (let ((r kr) (b kb) (c kc))
      (=>
        (told2 r b)
        (and
          (active r)
          (= (epoch b) (view r))
          (le b (promise2 r))
          (lt (last2 r b) b)
          (le (copy r) (last2 r b))
          (=> (distinct (last2 r b) none) (has r (last2 r b)))
          (=> (and (lt (last2 r b) c) (lt c b)) (not (has r c))))))))
(check-sat) ; expect: sat -- mutant: a promise that does not show the highest
(pop 1)
(push 1)
(declare-const b0 Ballot)
(declare-const q0 Quorum)
(declare-const f Ballot)
(declare-const w Replica)
(assert
  (and
    (not (proposed b0))
    (distinct b0 none)
    (= (qview q0) (epoch b0))
    (in (common q0 q0) q0)
    (forall ((r Replica)) (=> (= r w) (and (told r b0) (le (last r b0) f))))
    (=> (distinct f none) (and (= (view w) (epoch b0)) (= (last w b0) f)))))
(define-fun proposed2 ((b Ballot)) Bool (or (proposed b) (= b b0)))
(define-fun ancestor2 ((c Ballot) (b Ballot)) Bool
  (or (ancestor c b) (and (= b b0) (or (= c b0) (and (distinct f none) (ancestor c f))))))
(define-fun by2 ((b Ballot)) Quorum (ite (= b b0) q0 (by b)))
(define-fun blocks2 ((b Ballot) (c Ballot)) Quorum
  (ite
    (= b b0)
    (ite (lt f c) (ite (= (epoch c) (epoch b0)) q0 (bars (common q0 q0) c)) (blocks f c))
    (ite (= c b0) (ite (= (epoch b) (epoch b0)) (by b) (seal (epoch b0))) (blocks b c))))
(define-fun bars2 ((r Replica) (c Ballot)) Quorum (ite (= c b0) (seal (epoch b0)) (bars r c)))
(declare-const kb Ballot)
(declare-const kc Ballot)
(declare-const kr Replica)
(assert
  (not
    (let ((b kb) (c kc) (r kr))
      (=>
        (and (proposed2 b) (proposed2 c) (lt c b) (not (ancestor2 c b)))
        (and
          (= (qview (blocks2 b c)) (epoch c))
          (=> (in r (blocks2 b c)) (and (not (has r c)) (or (lt c (promise r)) (sealed r)))))))))
(check-sat) ; expect: sat -- mutant: promises of fewer than a quorum
(pop 1)
(push 1)
(declare-const r0 Replica)
(declare-const s0 Quorum)
(declare-const h Ballot)
(declare-const w Replica)
(assert
  (and
    (not (active r0))
    (before (qview s0) (view r0))
    (in (common s0 s0) s0)
    (forall ((r Replica)) (=> (in r s0) (active r)))
    (forall ((r Replica) (c Ballot)) (=> (and (in r s0) (has r c)) (le c h)))
    (=> (distinct h none) (and (in w s0) (has w h)))))
(define-fun active2 ((r Replica)) Bool (or (active r) (= r r0)))
(define-fun copy2 ((r Replica)) Ballot (ite (= r r0) h (copy r)))
(define-fun has2 ((r Replica) (b Ballot)) Bool (or (has r b) (and (= r r0) (= b h) (distinct h none))))
(define-fun bars2 ((r Replica) (c Ballot)) Quorum
  (ite (= r r0) (ite (lt h c) (ite (= (epoch c) (qview s0)) s0 (bars (common s0 s0) c)) (blocks h c)) (bars r c)))
(define-fun closed2 ((u View)) Bool (or (closed u) (= u (qview s0))))
(define-fun seal2 ((u View)) Quorum (ite (and (= u (qview s0)) (not (closed u))) s0 (seal u)))
(declare-const km Replica)
(declare-const kc Ballot)
(declare-const kr Replica)
(assert
  (not
    (let ((m km) (c kc) (r kr))
      (=>
        (and (active2 m) (proposed c) (vlt (epoch c) (view m)) (not (ancestor c (copy2 m))))
        (and
          (= (qview (bars2 m c)) (epoch c))
          (=> (in r (bars2 m c)) (and (not (has2 r c)) (or (lt c (promise r)) (sealed r)))))))))
(check-sat) ; expect: sat -- mutant: snapshots that are not sealed
(pop 1)
(push 1)
(declare-const r0 Replica)
(declare-const s0 Quorum)
(declare-const h Ballot)
(declare-const w Replica)
(assert
  (and
    (not (active r0))
    (before (qview s0) (view r0))
    (in (common s0 s0) s0)
    (forall ((r Replica)) (=> (= r w) (and (active r) (sealed r))))
    (forall ((r Replica) (c Ballot)) (=> (and (= r w) (has r c)) (le c h)))
    (=> (distinct h none) (and (= (view w) (qview s0)) (has w h)))))
(define-fun active2 ((r Replica)) Bool (or (active r) (= r r0)))
(define-fun copy2 ((r Replica)) Ballot (ite (= r r0) h (copy r)))
(define-fun has2 ((r Replica) (b Ballot)) Bool (or (has r b) (and (= r r0) (= b h) (distinct h none))))
(define-fun bars2 ((r Replica) (c Ballot)) Quorum
  (ite (= r r0) (ite (lt h c) (ite (= (epoch c) (qview s0)) s0 (bars (common s0 s0) c)) (blocks h c)) (bars r c)))
(define-fun closed2 ((u View)) Bool (or (closed u) (= u (qview s0))))
(define-fun seal2 ((u View)) Quorum (ite (and (= u (qview s0)) (not (closed u))) s0 (seal u)))
(declare-const km Replica)
(declare-const kc Ballot)
(declare-const kr Replica)
(assert
  (not
    (let ((m km) (c kc) (r kr))
      (=>
        (and (active2 m) (proposed c) (vlt (epoch c) (view m)) (not (ancestor c (copy2 m))))
        (and
          (= (qview (bars2 m c)) (epoch c))
          (=> (in r (bars2 m c)) (and (not (has2 r c)) (or (lt c (promise r)) (sealed r)))))))))
(check-sat) ; expect: sat -- mutant: snapshots of fewer than a quorum
(pop 1)
(push 1)
(declare-const r0 Replica)
(declare-const s0 Quorum)
(declare-const h Ballot)
(declare-const w Replica)
(assert
  (and
    (not (active r0))
    (before (qview s0) (view r0))
    (in (common s0 s0) s0)
    (forall ((r Replica)) (=> (in r s0) (and (active r) (sealed r))))
    (forall ((r Replica) (c Ballot)) (=> (and (in r s0) (has r c)) true))
    (=> (distinct h none) (and (in w s0) (has w h)))))
(define-fun active2 ((r Replica)) Bool (or (active r) (= r r0)))
(define-fun copy2 ((r Replica)) Ballot (ite (= r r0) h (copy r)))
(define-fun has2 ((r Replica) (b Ballot)) Bool (or (has r b) (and (= r r0) (= b h) (distinct h none))))
(define-fun bars2 ((r Replica) (c Ballot)) Quorum
  (ite (= r r0) (ite (lt h c) (ite (= (epoch c) (qview s0)) s0 (bars (common s0 s0) c)) (blocks h c)) (bars r c)))
(define-fun closed2 ((u View)) Bool (or (closed u) (= u (qview s0))))
(define-fun seal2 ((u View)) Quorum (ite (and (= u (qview s0)) (not (closed u))) s0 (seal u)))
(declare-const km Replica)
(declare-const kc Ballot)
(declare-const kr Replica)
(assert
  (not
    (let ((m km) (c kc) (r kr))
      (=>
        (and (active2 m) (proposed c) (vlt (epoch c) (view m)) (not (ancestor c (copy2 m))))
        (and
          (= (qview (bars2 m c)) (epoch c))
          (=> (in r (bars2 m c)) (and (not (has2 r c)) (or (lt c (promise r)) (sealed r)))))))))
(check-sat) ; expect: sat -- mutant: a snapshot that is not the highest
(pop 1)
(push 1)
(declare-const r0 Replica)
(declare-const p Replica)
(declare-const h Ballot)
(assert
  (and
    (not (active r0))
    true
    (= (view p) (view r0))
    (=> (distinct h none) (has p h))
    (forall ((c Ballot)) (=> (has p c) (le c h)))))
(define-fun active2 ((r Replica)) Bool (or (active r) (= r r0)))
(define-fun copy2 ((r Replica)) Ballot (ite (= r r0) (copy p) (copy r)))
(define-fun promise2 ((r Replica)) Ballot
  (ite (and (= r r0) (distinct h none) (= (epoch h) (view r0))) h (promise r)))
(define-fun has2 ((r Replica) (b Ballot)) Bool
  (or (has r b) (and (= r r0) (distinct b none) (or (= b h) (= b (copy p))))))
(define-fun bars2 ((r Replica) (c Ballot)) Quorum (ite (= r r0) (bars p c) (bars r c)))
(declare-const km Replica)
(declare-const kc Ballot)
(declare-const kr Replica)
(assert
  (not
    (let ((m km) (c kc) (r kr))
      (=>
        (and (active2 m) (proposed c) (vlt (epoch c) (view m)) (not (ancestor c (copy2 m))))
        (and
          (= (qview (bars2 m c)) (epoch c))
          (=> (in r (bars2 m c)) (and (not (has2 r c)) (or (lt c (promise2 r)) (sealed r)))))))))
(check-sat) ; expect: sat -- mutant: a copy of a learner
(pop 1)

; ---- Witnesses: every step can happen, and there is something to agree on. ----
(push 1)
(declare-const r0 Replica)
(declare-const b0 Ballot)
(declare-const l Ballot)
(assert
  (and
    (active r0)
    (not (sealed r0))
    (= (epoch b0) (view r0))
    (le (promise r0) b0)
    (not (told r0 b0))
    (distinct b0 none)
    (lt l b0)
    (=> (distinct l none) (has r0 l))
    (forall ((c Ballot)) (=> (and (has r0 c) (lt c b0)) (le c l)))))
(check-sat) ; expect: sat -- witness: promise
(pop 1)
(push 1)
(declare-const r0 Replica)
(declare-const b0 Ballot)
(assert (and (active r0) (not (sealed r0)) (= (epoch b0) (view r0)) (le (promise r0) b0) (proposed b0)))
(check-sat) ; expect: sat -- witness: vote
(pop 1)
(push 1)
(declare-const b0 Ballot)
(declare-const q0 Quorum)
(declare-const f Ballot)
(declare-const w Replica)
(assert
  (and
    (not (proposed b0))
    (distinct b0 none)
    (= (qview q0) (epoch b0))
    (in (common q0 q0) q0)
    (forall ((r Replica)) (=> (in r q0) (and (told r b0) (le (last r b0) f))))
    (=> (distinct f none) (and (in w q0) (= (last w b0) f)))))
(check-sat) ; expect: sat -- witness: propose
(pop 1)
(push 1)
(declare-const r0 Replica)
(assert (active r0))
(check-sat) ; expect: sat -- witness: seal
(pop 1)
(push 1)
(declare-const r0 Replica)
(declare-const s0 Quorum)
(declare-const h Ballot)
(declare-const w Replica)
(assert
  (and
    (not (active r0))
    (before (qview s0) (view r0))
    (in (common s0 s0) s0)
    (forall ((r Replica)) (=> (in r s0) (and (active r) (sealed r))))
    (forall ((r Replica) (c Ballot)) (=> (and (in r s0) (has r c)) (le c h)))
    (=> (distinct h none) (and (in w s0) (has w h)))))
(check-sat) ; expect: sat -- witness: activate
(pop 1)
(push 1)
(declare-const r0 Replica)
(declare-const p Replica)
(declare-const h Ballot)
(assert
  (and
    (not (active r0))
    (active p)
    (= (view p) (view r0))
    (=> (distinct h none) (has p h))
    (forall ((c Ballot)) (=> (has p c) (le c h)))))
(check-sat) ; expect: sat -- witness: copy
(pop 1)
(push 1)
(declare-const q1 Quorum)
(declare-const q2 Quorum)
(declare-const lower Ballot)
(declare-const higher Ballot)
(assert (and (= (qview q1) (epoch lower)) (= (qview q2) (epoch higher)) (vlt (epoch lower) (epoch higher))))
(assert (forall ((r Replica)) (and (=> (in r q1) (has r lower)) (=> (in r q2) (has r higher)))))
(check-sat) ; expect: sat -- witness: two chosen ballots, a change of view between them
(pop 1)
(pop 1)
