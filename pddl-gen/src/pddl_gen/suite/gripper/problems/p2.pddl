; optimal cost: 13
(define (problem gripper-p2)
  (:domain gripper)
  (:objects
    room1 room2 room3 - room
    ball1 ball2 ball3 ball4 - ball
    left right - gripper)
  (:init
    (robot-at room3)
    (free left)
    (free right)
    (at ball1 room2)
    (at ball2 room2)
    (at ball3 room2)
    (at ball4 room1))
  (:goal (and (at ball1 room1) (at ball2 room3) (at ball3 room3) (at ball4 room3))))
