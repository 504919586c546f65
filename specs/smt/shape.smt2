; The arithmetic of wide trees, `impl/pool/src/tree.rs`: for every fanout, block and size, not only
; those within the limits of `Shape` and `Tree`. PROVED where unsat.
;
; Products and quotients of unknowns are beyond what the solvers decide in general, so the proof
; goes by hand where it must: three lemmas about products are checked first, each on its own, and
; later checks assert *instances* of them. A quotient is stated by its definition: `q` is `n div d`
; iff q * d <= n < (q + 1) * d. What is left to the solver at each check is linear.
;
; `s` is the span of a child's level (how many ids a full place there has), `f` the fanout, so
; that f * s is the parent's span (`Tree::span`); `n` is the size; `j` the parent's index, `i` a
; side. The child's index is j * f + i (`Tree::child`). The 64-bit numbers of the code do not wrap:
; last part.
(set-logic QF_NIA)
(declare-const f Int)
(declare-const s Int)
(declare-const n Int)
(declare-const i Int)
(declare-const j Int)
(declare-const x Int)
(declare-const a Int)
(declare-const b Int)
(declare-const c Int)
(declare-const q Int)
(declare-const r Int)

; ---- Lemmas. ----
(push 1)
(assert (and (< a b) (>= c 1)))
(assert (not (<= (+ (* a c) c) (* b c))))
(check-sat) ; expect: unsat -- lemma STEP: a < b and c >= 1 give a * c + c <= b * c
(pop 1)
(push 1)
(assert (not (= (* (+ (* a b) c) q) (+ (* a (* b q)) (* c q)))))
(check-sat) ; expect: unsat -- lemma SPREAD: (a * b + c) * q = a * (b * q) + c * q
(pop 1)
(push 1)
(assert (and (>= a 0) (>= b 0)))
(assert (not (>= (* a b) 0)))
(check-sat) ; expect: unsat -- lemma SIGN: products of what is not negative are not negative
(pop 1)
(define-fun step ((a Int) (b Int) (c Int)) Bool
  (=> (and (< a b) (>= c 1)) (<= (+ (* a c) c) (* b c))))

; ---- `parent` undoes `child`. ----
(push 1)
(assert (and (>= f 2) (>= j 0) (<= 0 i) (< i f)))
; q and r are the quotient and remainder of the child's index by the fanout (`Tree::parent`).
(assert (= (+ (* j f) i) (+ (* q f) r)))
(assert (and (<= 0 r) (< r f)))
(push 1)
(assert (and (step q j f) (step j q f)))
(assert (not (and (= q j) (= r i))))
(check-sat) ; expect: unsat -- parent and side of child number i are the node and i
(pop 1)
(push 1)
(assert (and (= f 1024) (= j 1000000) (= i 1023)))
(check-sat) ; expect: sat -- witness: the last child of a node of 1024
(pop 1)
(pop 1)
(push 1)
; A child's index that counts from one: the last child falls into the next node.
(assert (and (>= f 2) (>= j 0) (<= 0 i) (< i f)))
(assert (= (+ (* j f) i 1) (+ (* q f) r)))
(assert (and (<= 0 r) (< r f)))
(assert (and (= f 2) (not (= q j))))
(check-sat) ; expect: sat -- mutant: parent does not undo a child whose index is one too high
(pop 1)
; (The other way, that each place is the child on its side of its parent, is the definition of quotient
; and remainder.)

; ---- Children partition their parent. ----
; An id is below the place of index p at span t iff p * t <= id < (p + 1) * t and id < n
; (`Tree::ids`).
(define-fun below ((id Int) (p Int) (t Int)) Bool
  (and (<= (* p t) id) (< id (+ (* p t) t)) (<= 0 id) (< id n)))
(push 1)
(assert (and (>= f 2) (>= s 1) (>= j 0) (>= n 1)))
; SPREAD, so that the products of both levels meet: t = f * s, and the child's first id.
(declare-const t Int)
(declare-const jt Int)
(assert (= t (* f s)))
(assert (= jt (* j t)))
(define-fun child-first ((i Int)) Int (+ jt (* i s)))
(push 1)
; The child's first id as the code computes it: (j * f + i) * s.
(assert (not (= (* (+ (* j f) i) s) (+ (* j (* f s)) (* i s)))))
(check-sat) ; expect: unsat -- SPREAD applies: a child's first id is j * (f * s) + i * s
(pop 1)
(define-fun below-child ((id Int) (i Int)) Bool
  (and (<= (child-first i) id) (< id (+ (child-first i) s)) (<= 0 id) (< id n)))
(define-fun below-parent ((id Int)) Bool
  (and (<= jt id) (< id (+ jt t)) (<= 0 id) (< id n)))
(push 1)
(assert (and (<= 0 i) (< i f) (below-child x i)))
(assert (and (step i f s) (>= (* i s) 0)))
(assert (not (below-parent x)))
(check-sat) ; expect: unsat -- what is below a child is below its parent
(pop 1)
(push 1)
(assert (and (<= 0 i) (< i f) (<= 0 c) (< c f) (< i c)))
(assert (and (below-child x i) (below-child x c)))
(assert (step i c s))
(check-sat) ; expect: unsat -- nothing is below two children
(pop 1)
(push 1)
; q is (x - jt) div s, the side on which x must be.
(assert (below-parent x))
(assert (and (<= (* q s) (- x jt)) (< (- x jt) (+ (* q s) s))))
(assert (and (step q 0 s) (step f q s) (=> (= f q) (= (* f s) (* q s)))))
(assert (not (and (<= 0 q) (< q f) (below-child x q))))
(check-sat) ; expect: unsat -- what is below a node is below one of its children
(pop 1)
(push 1)
(assert (and (= f 3) (= s 4) (= j 1) (= n 17) (below-parent x) (below-child x 1)))
(check-sat) ; expect: sat -- witness: an id below a ragged node and its last child
(pop 1)
(push 1)
; Children that start one id late.
(assert (and (= f 2) (= s 2) (= j 1) (below-parent x)))
(assert (not (or (below-child (- x 1) 0) (below-child (- x 1) 1))))
(check-sat) ; expect: sat -- mutant: children that start one id late leave one out
(pop 1)
(pop 1)

; ---- The ragged end. ----
; p places of span s cover n ids: p = ceil(n / s) (`Tree::places`).
(push 1)
(assert (and (>= s 1) (>= n 1) (>= c 0)))
(declare-const p Int)
(assert (and (>= (* p s) n) (< (- (* p s) s) n)))
(push 1)
(assert (and (step p c s) (step c p s) (=> (= p c) (= (* p s) (* c s)))))
(assert (not (= (< c p) (< (* c s) n))))
(check-sat) ; expect: unsat -- a place exists iff its first id is an id of the pool
(pop 1)
(push 1)
; The width of the node j is min(f, p - j * f) (`Tree::width`); its children are those that exist.
(declare-const width Int)
(assert (and (>= f 2) (>= j 0) (<= 0 i)))
(assert (= width (ite (< f (- p (* j f))) f (- p (* j f)))))
(assert (not (= (< i width) (and (< i f) (< (+ (* j f) i) p)))))
(check-sat) ; expect: unsat -- the width counts exactly the children that exist
(pop 1)
(push 1)
(assert (and (= s 4) (= n 17) (= c 4) (< c p) (> (+ (* c s) s) n)))
(check-sat) ; expect: sat -- witness: a last place with fewer ids than its span
(pop 1)
(push 1)
; Rounded down: the last, ragged place is forgotten.
(declare-const floor Int)
(assert (and (<= (* floor s) n) (< n (+ (* floor s) s))))
(assert (= s 4))
(assert (not (= (< c floor) (< (* c s) n))))
(check-sat) ; expect: sat -- mutant: places rounded down lose the ids of the last one
(pop 1)
(pop 1)

; ---- No 64-bit number wraps, within the limits of Shape and Tree. ----
(push 1)
(assert (and (<= 2 f) (<= f 1024) (<= 1 n) (<= n 281474976710656)))
; s is the span below the root's level, where more than one place was needed: s < n. The root's span
; is f * s. (A tree of height 0 has a span of at most 256.)
(assert (and (<= 1 s) (< s n)))
(push 1)
(assert (and (step f 1025 s) (>= s 1)))
(assert (not (< (* f s) 288230376151711744)))
(check-sat) ; expect: unsat -- no span reaches 2^58
(pop 1)
(push 1)
; `ids`: (index + 1) * span for a place that exists, that is, index * span < n.
(assert (and (>= c 0) (<= 1 q) (< q 288230376151711744) (< (* c q) n)))
(assert (not (< (+ (* c q) q) 18446744073709551616)))
(check-sat) ; expect: unsat -- no end of a place's ids reaches 2^64
(pop 1)
(push 1)
(assert (and (= f 1024) (= n 281474976710656) (= s 281474976710655)))
(check-sat) ; expect: sat -- witness: the limits are within the assumptions
(pop 1)
(pop 1)
