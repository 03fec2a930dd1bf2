; optimal cost: 8
(define (problem canal-p2)
  (:domain canal)
  (:objects
    barge1 - barge
    skiff1 - skiff
    lock1 lock2 - lock
    reach1 reach2 reach3 - reach
    keeper1 - keeper
    crate1 - crate)
  (:init
    (tends keeper1 lock2)
    (below lock1 reach1)
    (above lock1 reach2)
    (vacant lock1)
    (wide lock1)
    (below lock2 reach2)
    (above lock2 reach3)
    (vacant lock2)
    (wide lock2)
    (full lock1)
    (full lock2)
    (moored barge1 reach3)
    (moored skiff1 reach2)
    (on-quay crate1 reach3))
  (:goal (and (on-quay crate1 reach2) (moored skiff1 reach3))))
