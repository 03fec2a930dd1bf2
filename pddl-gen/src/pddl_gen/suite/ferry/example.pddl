(define (problem ferry-example)
  (:domain ferry)
  (:objects
    car1 car2 - car
    harbour1 harbour2 - harbour)
  (:init
    (ferry-at harbour1)
    (empty-ferry)
    (at car1 harbour2)
    (at car2 harbour1))
  (:goal (and (at car1 harbour1) (at car2 harbour2))))
