(define (problem elevator-example)
  (:domain elevator)
  (:objects
    guest1 - passenger
    floor1 floor2 floor3 - floor)
  (:init
    (lift-at floor1)
    (above floor1 floor2)
    (above floor1 floor3)
    (above floor2 floor3)
    (origin guest1 floor3)
    (destination guest1 floor1))
  (:goal (and (served guest1))))
