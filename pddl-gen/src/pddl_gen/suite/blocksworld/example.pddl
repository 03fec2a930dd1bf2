(define (problem blocksworld-example)
  (:domain blocksworld)
  (:objects
    b1 b2 b3 - block)
  (:init
    (hand-empty)
    (on-table b1)
    (clear b1)
    (on-table b3)
    (clear b3)
    (on-table b2)
    (clear b2))
  (:goal (and (on b1 b2) (on b3 b1))))
