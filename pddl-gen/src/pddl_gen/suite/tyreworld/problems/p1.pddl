; optimal cost: 12
(define (problem tyreworld-p1)
  (:domain tyreworld)
  (:objects
    boot - container
    hub1 - hub
    nut1 - nut
    flat1 spare1 - wheel
    wrench1 - wrench
    jack1 - jack
    pump1 - pump)
  (:init
    (on-hub flat1 hub1)
    (nut-of nut1 hub1)
    (tight nut1 hub1)
    (on-ground hub1)
    (intact spare1)
    (have wrench1)
    (in jack1 boot)
    (have pump1)
    (in spare1 boot))
  (:goal (and (on-hub spare1 hub1) (inflated spare1) (on-ground hub1) (tight nut1 hub1))))
