; optimal cost: 19
(define (problem tyreworld-p4)
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
    (in wrench1 boot)
    (in jack1 boot)
    (in pump1 boot)
    (in spare1 boot))
  (:goal (and (on-hub spare1 hub1) (inflated spare1) (on-ground hub1) (tight nut1 hub1) (in flat1 boot) (in wrench1 boot) (in jack1 boot) (in pump1 boot) (not (open boot)))))
