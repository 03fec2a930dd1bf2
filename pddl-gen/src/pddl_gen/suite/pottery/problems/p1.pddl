; optimal cost: 14
(define (problem pottery-p1)
  (:domain pottery)
  (:objects
    pot1 pot2 - pot
    kiln1 - kiln
    kiln1-shelf1 kiln1-shelf2 - shelf)
  (:init
    (shelf-of kiln1-shelf1 kiln1)
    (shelf-of kiln1-shelf2 kiln1)
    (free kiln1-shelf1)
    (free kiln1-shelf2)
    (hot kiln1)
    (dry pot1)
    (on-bench pot1)
    (dry pot2)
    (on-bench pot2))
  (:goal (and (finished pot1) (finished pot2) (on-bench pot2))))
