; optimal cost: 7
(define (problem elevator-p1)
  (:domain elevator)
  (:objects
    guest1 guest2 - passenger
    floor1 floor2 floor3 floor4 - floor)
  (:init
    (lift-at floor4)
    (above floor1 floor2)
    (above floor1 floor3)
    (above floor1 floor4)
    (above floor2 floor3)
    (above floor2 floor4)
    (above floor3 floor4)
    (origin guest1 floor3)
    (destination guest1 floor4)
    (origin guest2 floor3)
    (destination guest2 floor1))
  (:goal (and (served guest1) (served guest2))))
