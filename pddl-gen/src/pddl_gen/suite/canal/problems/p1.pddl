; optimal cost: 15
(define (problem canal-p1)
  (:domain canal)
  (:objects
    barge1 - barge
    lock1 lock2 - lock
    reach1 reach2 reach3 basin - reach
    keeper1 - keeper
    crate1 crate2 - crate)
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
    (joined basin reach2)
    (joined reach2 basin)
    (moored barge1 reach1)
    (on-quay crate1 reach1)
    (on-quay crate2 reach3))
  (:goal (and (on-quay crate1 reach3) (on-quay crate2 basin))))
