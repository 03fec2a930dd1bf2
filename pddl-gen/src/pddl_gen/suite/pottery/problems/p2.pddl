; optimal cost: 14
(define (problem pottery-p2)
  (:domain pottery)
  (:objects
    pot1 pot2 - pot
    kiln1 kiln2 - kiln
    kiln1-shelf1 kiln2-shelf1 - shelf)
  (:init
    (shelf-of kiln1-shelf1 kiln1)
    (shelf-of kiln2-shelf1 kiln2)
    (free kiln1-shelf1)
    (free kiln2-shelf1)
    (hot kiln1)
    (clay pot1)
    (on-bench pot1)
    (biscuit pot2)
    (on-bench pot2))
  (:goal (and (finished pot1) (finished pot2) (on-bench pot1))))
