(define (problem canal-example)
  (:domain canal)
  (:objects
    barge1 - barge
    skiff1 - skiff
    lock1 - lock
    reach1 reach2 basin - reach
    keeper1 - keeper
    crate1 - crate)
  (:init
    (tends keeper1 lock1)
    (below lock1 reach1)
    (above lock1 reach2)
    (vacant lock1)
    (wide lock1)
    (full lock1)
    (joined basin reach2)
    (joined reach2 basin)
    (moored barge1 reach2)
    (moored skiff1 reach2)
    (on-quay crate1 basin))
  (:goal (and (on-quay crate1 reach2) (moored skiff1 reach2))))
