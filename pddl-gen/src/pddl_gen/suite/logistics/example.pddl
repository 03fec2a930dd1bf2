(define (problem logistics-example)
  (:domain logistics)
  (:objects
    city1 city2 - city
    city1-airport city2-airport - airport
    city1-office city2-office - place
    truck1 truck2 - truck
    plane1 - airplane
    package1 - package)
  (:init
    (in-city city1-airport city1)
    (in-city city2-airport city2)
    (in-city city1-office city1)
    (in-city city2-office city2)
    (at truck1 city1-office)
    (at truck2 city2-office)
    (at plane1 city1-airport)
    (lies package1 city2-office))
  (:goal (and (lies package1 city1-office))))
