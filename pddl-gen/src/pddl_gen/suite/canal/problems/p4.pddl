; optimal cost: 27
(define (problem canal-p4)
  (:domain canal)
  (:objects
    barge1 - barge
    lock1 lock2 lock3 narrow - lock
    reach1 reach2 reach3 reach4 basin - reach
    keeper1 - keeper
    crate1 - crate)
  (:init
    (tends keeper1 lock1)
    (below lock1 reach1)
    (above lock1 reach2)
    (vacant lock1)
    (wide lock1)
    (below lock2 reach2)
    (above lock2 reach3)
    (vacant lock2)
    (wide lock2)
    (below lock3 reach3)
    (above lock3 reach4)
    (vacant lock3)
    (wide lock3)
    (full lock1)
    (full lock2)
    (full lock3)
    (joined basin reach1)
    (joined reach1 basin)
    (moored barge1 reach4)
    (on-quay crate1 basin)
    (below narrow reach1)
    (above narrow reach4)
    (vacant narrow))
  (:goal (and (on-quay crate1 reach4))))
