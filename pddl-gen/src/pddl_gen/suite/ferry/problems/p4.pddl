; optimal cost: 17
(define (problem ferry-p4)
  (:domain ferry)
  (:objects
    car1 car2 car3 car4 car5 - car
    harbour1 harbour2 harbour3 harbour4 - harbour)
  (:init
    (ferry-at harbour1)
    (empty-ferry)
    (at car1 harbour4)
    (at car2 harbour1)
    (at car3 harbour3)
    (at car4 harbour1)
    (at car5 harbour1))
  (:goal (and (at car1 harbour2) (at car2 harbour3) (at car3 harbour4) (at car4 harbour2) (at car5 harbour4))))
