; optimal cost: 10
(define (problem ferry-p1)
  (:domain ferry)
  (:objects
    car1 car2 car3 - car
    harbour1 harbour2 harbour3 - harbour)
  (:init
    (ferry-at harbour2)
    (empty-ferry)
    (at car1 harbour3)
    (at car2 harbour1)
    (at car3 harbour2))
  (:goal (and (at car1 harbour2) (at car2 harbour2) (at car3 harbour1))))
