(define (problem floortile-example)
  (:domain floortile)
  (:objects
    robot1 - robot
    tile-0-0 tile-0-1 tile-1-0 tile-1-1 - tile
    white black - color)
  (:init
    (above tile-1-0 tile-0-0)
    (above tile-1-1 tile-0-1)
    (right-of tile-0-1 tile-0-0)
    (right-of tile-1-1 tile-1-0)
    (robot-at robot1 tile-0-1)
    (clear tile-0-0)
    (clear tile-1-0)
    (clear tile-1-1)
    (robot-has robot1 white)
    (available white)
    (available black)
    (= (total-cost) 0))
  (:goal (and (painted tile-1-0 black) (painted tile-1-1 white)))
  (:metric minimize (total-cost)))
