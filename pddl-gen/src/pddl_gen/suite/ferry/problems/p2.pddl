; optimal cost: 13
(define (problem ferry-p2)
  (:domain ferry)
  (:objects
    car1 car2 car3 car4 - car
    harbour1 harbour2 harbour3 - harbour)
  (:init
    (ferry-at harbour3)
    (empty-ferry)
    (at car1 harbour1)
    (at car2 harbour2)
    (at car3 harbour3)
    (at car4 harbour2))
  (:goal (and (at car1 harbour3) (at car2 harbour1) (at car3 harbour2) (at car4 harbour1))))
