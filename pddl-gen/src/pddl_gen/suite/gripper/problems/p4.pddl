; optimal cost: 14
(define (problem gripper-p4)
  (:domain gripper)
  (:objects
    room1 room2 room3 - room
    ball1 ball2 ball3 ball4 ball5 - ball
    left right - gripper)
  (:init
    (robot-at room2)
    (free left)
    (free right)
    (at ball1 room1)
    (at ball2 room2)
    (at ball3 room3)
    (at ball4 room1)
    (at ball5 room2))
  (:goal (and (at ball1 room2) (at ball2 room1) (at ball3 room2) (at ball4 room3) (at ball5 room3))))
