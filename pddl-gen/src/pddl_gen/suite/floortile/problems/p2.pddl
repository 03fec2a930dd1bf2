; optimal cost: 13
(define (problem floortile-p2)
  (:domain floortile)
  (:objects
    robot1 robot2 - robot
    tile-0-0 tile-0-1 tile-0-2 tile-1-0 tile-1-1 tile-1-2 - tile
    white black - color)
  (:init
    (above tile-1-0 tile-0-0)
    (above tile-1-1 tile-0-1)
    (above tile-1-2 tile-0-2)
    (right-of tile-0-1 tile-0-0)
    (right-of tile-0-2 tile-0-1)
    (right-of tile-1-1 tile-1-0)
    (right-of tile-1-2 tile-1-1)
    (robot-at robot1 tile-0-0)
    (robot-at robot2 tile-0-1)
    (clear tile-0-2)
    (clear tile-1-0)
    (clear tile-1-1)
    (clear tile-1-2)
    (robot-has robot1 white)
    (robot-has robot2 white)
    (available white)
    (available black)
    (= (total-cost) 0))
  (:goal (and (painted tile-1-0 white) (painted tile-1-1 black) (painted tile-1-2 white)))
  (:metric minimize (total-cost)))
