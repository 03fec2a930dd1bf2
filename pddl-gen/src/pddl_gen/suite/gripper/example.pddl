(define (problem gripper-example)
  (:domain gripper)
  (:objects
    room1 room2 - room
    ball1 ball2 - ball
    left right - gripper)
  (:init
    (robot-at room2)
    (free left)
    (free right)
    (at ball1 room2)
    (at ball2 room2))
  (:goal (and (at ball1 room1) (at ball2 room1))))
