; optimal cost: 8
(define (problem blocksworld-p3)
  (:domain blocksworld)
  (:objects
    b1 b2 b3 b4 b5 b6 - block)
  (:init
    (hand-empty)
    (on-table b4)
    (clear b4)
    (on-table b3)
    (clear b5)
    (on b5 b3)
    (on-table b6)
    (clear b2)
    (on b2 b6)
    (on-table b1)
    (clear b1))
  (:goal (and (on b6 b3) (on b1 b2))))
