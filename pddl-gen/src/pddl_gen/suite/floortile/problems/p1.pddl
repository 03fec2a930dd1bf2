; optimal cost: 25
(define (problem floortile-p1)
  (:domain floortile)
  (:objects
    robot1 - robot
    tile-0-0 tile-0-1 tile-1-0 tile-1-1 tile-2-0 tile-2-1 - tile
    white black - color)
  (:init
    (above tile-1-0 tile-0-0)
    (above tile-1-1 tile-0-1)
    (above tile-2-0 tile-1-0)
    (above tile-2-1 tile-1-1)
    (right-of tile-0-1 tile-0-0)
    (right-of tile-1-1 tile-1-0)
    (right-of tile-2-1 tile-2-0)
    (robot-at robot1 tile-0-1)
    (clear tile-0-0)
    (clear tile-1-0)
    (clear tile-1-1)
    (clear tile-2-0)
    (clear tile-2-1)
    (robot-has robot1 white)
    (available white)
    (available black)
    (= (total-cost) 0))
  (:goal (and (painted tile-1-0 white) (painted tile-1-1 black) (painted tile-2-0 black) (painted tile-2-1 white)))
  (:metric minimize (total-cost)))
