; optimal cost: 6
(define (problem blocksworld-p2)
  (:domain blocksworld)
  (:objects
    b1 b2 b3 b4 b5 - block)
  (:init
    (hand-empty)
    (on-table b4)
    (clear b5)
    (on b5 b4)
    (on-table b2)
    (clear b3)
    (on b3 b2)
    (on-table b1)
    (clear b1))
  (:goal (and (on b3 b1) (on b2 b3) (on b5 b2))))
