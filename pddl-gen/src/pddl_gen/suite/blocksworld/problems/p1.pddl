; optimal cost: 8
(define (problem blocksworld-p1)
  (:domain blocksworld)
  (:objects
    b1 b2 b3 b4 - block)
  (:init
    (hand-empty)
    (on-table b3)
    (clear b1)
    (on b2 b3)
    (on b4 b2)
    (on b1 b4))
  (:goal (and (on b2 b1) (on b3 b2))))
