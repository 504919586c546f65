; The interval arithmetic of the published binary tree, for every 64-bit start, length and size:
; `impl/pool/src/interval.rs`, line by line. PROVED where unsat: no counterexample exists.
;
; A node is (start, len) as `Interval::new` accepts it. `Option` is a pair of a flag and a node.
(set-logic QF_BV)
(define-sort U64 () (_ BitVec 64))
(define-fun zero () U64 #x0000000000000000)
(define-fun one () U64 #x0000000000000001)
(define-fun two () U64 #x0000000000000002)

; `is_power_of_two`.
(define-fun power-of-two ((x U64)) Bool
  (and (distinct x zero) (= (bvand x (bvsub x one)) zero)))
; `x.is_multiple_of(len)` by a mask, which is the same where `len` is a power of two: the first two
; checks. (A remainder by an unknown 64-bit number is out of reach of both solvers.)
(define-fun multiple ((x U64) (len U64)) Bool (= (bvand x (bvsub len one)) zero))
; `Interval::new` accepts. The sum wraps exactly when `checked_add` is None.
(define-fun node ((start U64) (len U64)) Bool
  (and (power-of-two len) (multiple start len) (bvugt (bvadd start len) start)))
(define-fun end ((start U64) (len U64)) U64 (bvadd start len))
(define-fun half ((len U64)) U64 (bvudiv len two))
(define-fun right-start ((start U64) (len U64)) U64 (bvadd start (half len)))
; `side`: true is Left.
(define-fun is-left ((start U64) (len U64)) Bool
  (or (bvugt len #x7fffffffffffffff) (multiple start (bvmul len two))))
; `up(size)`: whether there is a parent, and its start and length.
(define-fun has-up ((len U64) (size U64)) Bool (bvult len size))
(define-fun up-start ((start U64) (len U64)) U64
  (ite (is-left start len) start (bvsub start len)))
(define-fun up-len ((len U64)) U64 (bvmul len two))
(define-fun inside ((x U64) (start U64) (len U64)) Bool
  (and (bvuge x start) (bvult x (end start len))))

(declare-const start U64)
(declare-const len U64)
(declare-const size U64)
(declare-const x U64)

; ---- A power of two is one of 64 numbers, and for each of them the mask is the remainder. ----
(push 1)
(assert (power-of-two len))
(assert (distinct len
  #x0000000000000001 #x0000000000000002 #x0000000000000004 #x0000000000000008
  #x0000000000000010 #x0000000000000020 #x0000000000000040 #x0000000000000080
  #x0000000000000100 #x0000000000000200 #x0000000000000400 #x0000000000000800
  #x0000000000001000 #x0000000000002000 #x0000000000004000 #x0000000000008000
  #x0000000000010000 #x0000000000020000 #x0000000000040000 #x0000000000080000
  #x0000000000100000 #x0000000000200000 #x0000000000400000 #x0000000000800000
  #x0000000001000000 #x0000000002000000 #x0000000004000000 #x0000000008000000
  #x0000000010000000 #x0000000020000000 #x0000000040000000 #x0000000080000000
  #x0000000100000000 #x0000000200000000 #x0000000400000000 #x0000000800000000
  #x0000001000000000 #x0000002000000000 #x0000004000000000 #x0000008000000000
  #x0000010000000000 #x0000020000000000 #x0000040000000000 #x0000080000000000
  #x0000100000000000 #x0000200000000000 #x0000400000000000 #x0000800000000000
  #x0001000000000000 #x0002000000000000 #x0004000000000000 #x0008000000000000
  #x0010000000000000 #x0020000000000000 #x0040000000000000 #x0080000000000000
  #x0100000000000000 #x0200000000000000 #x0400000000000000 #x0800000000000000
  #x1000000000000000 #x2000000000000000 #x4000000000000000 #x8000000000000000
))
(check-sat) ; expect: unsat -- there are 64 powers of two
(pop 1)
(push 1)
(assert (or
  (distinct (multiple x #x0000000000000001) (= (bvurem x #x0000000000000001) zero))
  (distinct (multiple x #x0000000000000002) (= (bvurem x #x0000000000000002) zero))
  (distinct (multiple x #x0000000000000004) (= (bvurem x #x0000000000000004) zero))
  (distinct (multiple x #x0000000000000008) (= (bvurem x #x0000000000000008) zero))
  (distinct (multiple x #x0000000000000010) (= (bvurem x #x0000000000000010) zero))
  (distinct (multiple x #x0000000000000020) (= (bvurem x #x0000000000000020) zero))
  (distinct (multiple x #x0000000000000040) (= (bvurem x #x0000000000000040) zero))
  (distinct (multiple x #x0000000000000080) (= (bvurem x #x0000000000000080) zero))
  (distinct (multiple x #x0000000000000100) (= (bvurem x #x0000000000000100) zero))
  (distinct (multiple x #x0000000000000200) (= (bvurem x #x0000000000000200) zero))
  (distinct (multiple x #x0000000000000400) (= (bvurem x #x0000000000000400) zero))
  (distinct (multiple x #x0000000000000800) (= (bvurem x #x0000000000000800) zero))
  (distinct (multiple x #x0000000000001000) (= (bvurem x #x0000000000001000) zero))
  (distinct (multiple x #x0000000000002000) (= (bvurem x #x0000000000002000) zero))
  (distinct (multiple x #x0000000000004000) (= (bvurem x #x0000000000004000) zero))
  (distinct (multiple x #x0000000000008000) (= (bvurem x #x0000000000008000) zero))
  (distinct (multiple x #x0000000000010000) (= (bvurem x #x0000000000010000) zero))
  (distinct (multiple x #x0000000000020000) (= (bvurem x #x0000000000020000) zero))
  (distinct (multiple x #x0000000000040000) (= (bvurem x #x0000000000040000) zero))
  (distinct (multiple x #x0000000000080000) (= (bvurem x #x0000000000080000) zero))
  (distinct (multiple x #x0000000000100000) (= (bvurem x #x0000000000100000) zero))
  (distinct (multiple x #x0000000000200000) (= (bvurem x #x0000000000200000) zero))
  (distinct (multiple x #x0000000000400000) (= (bvurem x #x0000000000400000) zero))
  (distinct (multiple x #x0000000000800000) (= (bvurem x #x0000000000800000) zero))
  (distinct (multiple x #x0000000001000000) (= (bvurem x #x0000000001000000) zero))
  (distinct (multiple x #x0000000002000000) (= (bvurem x #x0000000002000000) zero))
  (distinct (multiple x #x0000000004000000) (= (bvurem x #x0000000004000000) zero))
  (distinct (multiple x #x0000000008000000) (= (bvurem x #x0000000008000000) zero))
  (distinct (multiple x #x0000000010000000) (= (bvurem x #x0000000010000000) zero))
  (distinct (multiple x #x0000000020000000) (= (bvurem x #x0000000020000000) zero))
  (distinct (multiple x #x0000000040000000) (= (bvurem x #x0000000040000000) zero))
  (distinct (multiple x #x0000000080000000) (= (bvurem x #x0000000080000000) zero))
  (distinct (multiple x #x0000000100000000) (= (bvurem x #x0000000100000000) zero))
  (distinct (multiple x #x0000000200000000) (= (bvurem x #x0000000200000000) zero))
  (distinct (multiple x #x0000000400000000) (= (bvurem x #x0000000400000000) zero))
  (distinct (multiple x #x0000000800000000) (= (bvurem x #x0000000800000000) zero))
  (distinct (multiple x #x0000001000000000) (= (bvurem x #x0000001000000000) zero))
  (distinct (multiple x #x0000002000000000) (= (bvurem x #x0000002000000000) zero))
  (distinct (multiple x #x0000004000000000) (= (bvurem x #x0000004000000000) zero))
  (distinct (multiple x #x0000008000000000) (= (bvurem x #x0000008000000000) zero))
  (distinct (multiple x #x0000010000000000) (= (bvurem x #x0000010000000000) zero))
  (distinct (multiple x #x0000020000000000) (= (bvurem x #x0000020000000000) zero))
  (distinct (multiple x #x0000040000000000) (= (bvurem x #x0000040000000000) zero))
  (distinct (multiple x #x0000080000000000) (= (bvurem x #x0000080000000000) zero))
  (distinct (multiple x #x0000100000000000) (= (bvurem x #x0000100000000000) zero))
  (distinct (multiple x #x0000200000000000) (= (bvurem x #x0000200000000000) zero))
  (distinct (multiple x #x0000400000000000) (= (bvurem x #x0000400000000000) zero))
  (distinct (multiple x #x0000800000000000) (= (bvurem x #x0000800000000000) zero))
  (distinct (multiple x #x0001000000000000) (= (bvurem x #x0001000000000000) zero))
  (distinct (multiple x #x0002000000000000) (= (bvurem x #x0002000000000000) zero))
  (distinct (multiple x #x0004000000000000) (= (bvurem x #x0004000000000000) zero))
  (distinct (multiple x #x0008000000000000) (= (bvurem x #x0008000000000000) zero))
  (distinct (multiple x #x0010000000000000) (= (bvurem x #x0010000000000000) zero))
  (distinct (multiple x #x0020000000000000) (= (bvurem x #x0020000000000000) zero))
  (distinct (multiple x #x0040000000000000) (= (bvurem x #x0040000000000000) zero))
  (distinct (multiple x #x0080000000000000) (= (bvurem x #x0080000000000000) zero))
  (distinct (multiple x #x0100000000000000) (= (bvurem x #x0100000000000000) zero))
  (distinct (multiple x #x0200000000000000) (= (bvurem x #x0200000000000000) zero))
  (distinct (multiple x #x0400000000000000) (= (bvurem x #x0400000000000000) zero))
  (distinct (multiple x #x0800000000000000) (= (bvurem x #x0800000000000000) zero))
  (distinct (multiple x #x1000000000000000) (= (bvurem x #x1000000000000000) zero))
  (distinct (multiple x #x2000000000000000) (= (bvurem x #x2000000000000000) zero))
  (distinct (multiple x #x4000000000000000) (= (bvurem x #x4000000000000000) zero))
  (distinct (multiple x #x8000000000000000) (= (bvurem x #x8000000000000000) zero))
))
(check-sat) ; expect: unsat -- the mask is the remainder, for each of the 64
(pop 1)

; ---- Down: an inner node's halves. ----
(push 1)
(assert (node start len))
(assert (distinct len one))
(push 1)
(assert (not (and (node start (half len)) (node (right-start start len) (half len)))))
(check-sat) ; expect: unsat -- both halves are nodes
(pop 1)
(push 1)
(assert (not (and
  (= (end start (half len)) (right-start start len))
  (= (end (right-start start len) (half len)) (end start len)))))
(check-sat) ; expect: unsat -- left ends where right starts, right ends where the parent ends
(pop 1)
(push 1)
(assert (distinct (inside x start len)
  (xor (inside x start (half len)) (inside x (right-start start len) (half len)))))
(check-sat) ; expect: unsat -- partition: a number is in the node iff it is in exactly one half
(pop 1)
(push 1)
(assert (not (and
  (is-left start (half len)) (not (is-left (right-start start len) (half len))))))
(check-sat) ; expect: unsat -- left is Left, right is Right
(pop 1)
(push 1)
(assert (bvule len size))
(assert (not (and
  (has-up (half len) size)
  (= (up-start start (half len)) start)
  (= (up-start (right-start start len) (half len)) start)
  (= (up-len (half len)) len))))
(check-sat) ; expect: unsat -- up undoes left and right
(pop 1)
(push 1)
(assert (= len #x4000000000000000))
(assert (distinct start zero))
(check-sat) ; expect: sat -- witness: there are inner nodes of length 2^62 beside the first
(pop 1)
(push 1)
; The side test of a plausible bug: divisible by the length, not by twice the length.
(define-fun mutant-up-start ((start U64) (len U64)) U64
  (ite (multiple start len) start (bvsub start len)))
(assert (distinct (mutant-up-start (right-start start len) (half len)) start))
(check-sat) ; expect: sat -- mutant: up with the wrong side test does not undo right
(pop 1)
(push 1)
; Halves that share their border.
(assert (distinct (inside x start len)
  (xor (inside x start (bvadd (half len) one)) (inside x (right-start start len) (half len)))))
(check-sat) ; expect: sat -- mutant: a left half that is one too long is no partition
(pop 1)
(pop 1)

; ---- Up: a node below the root of the tree over [0, size). ----
(push 1)
(assert (node start len))
(assert (power-of-two size))
(assert (bvule (end start len) size))
(assert (has-up len size))
(push 1)
(assert (not (and
  (node (up-start start len) (up-len len))
  (bvule (end (up-start start len) (up-len len)) size))))
(check-sat) ; expect: unsat -- up is a node of the same tree
(pop 1)
(push 1)
(assert (not (ite (is-left start len)
  (and (= start (up-start start len)) (= len (half (up-len len))))
  (and (= start (right-start (up-start start len) (up-len len))) (= len (half (up-len len)))))))
(check-sat) ; expect: unsat -- left or right, whichever the side says, undoes up
(pop 1)
(push 1)
(assert (not (is-left start len)))
(assert (= size #x8000000000000000))
(check-sat) ; expect: sat -- witness: there are right children in the largest tree
(pop 1)
(push 1)
(define-fun mutant-up-start ((start U64) (len U64)) U64
  (ite (is-left start len) start (bvadd start len)))
(assert (not (bvule (end (mutant-up-start start len) (up-len len)) size)))
(check-sat) ; expect: sat -- mutant: up that adds for a right child leaves the tree
(pop 1)
(pop 1)
