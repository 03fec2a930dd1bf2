; {"kind": "rename-parameters", "what": "all parameters renamed", "equivalent": true, "fails": []}
(define (domain pottery)
  (:requirements :strips :typing :negative-preconditions :conditional-effects :universal-preconditions)
  (:types pot kiln shelf - object)
  (:predicates
    (clay ?p - pot)
    (wet ?p - pot)
    (dry ?p - pot)
    (biscuit ?p - pot)
    (glazed ?p - pot)
    (finished ?p - pot)
    (cracked ?p - pot)
    (on-bench ?p - pot)
    (standing ?p - pot ?s - shelf)
    (free ?s - shelf)
    (shelf-of ?s - shelf ?k - kiln)
    (hot ?k - kiln))
  (:action throw
    :parameters (?p0 - pot)
    :precondition (and (clay ?p0) (on-bench ?p0))
    :effect (and (wet ?p0) (not (clay ?p0))))
  (:action air
    :parameters (?p0 - pot)
    :precondition (and (wet ?p0) (on-bench ?p0))
    :effect (and (dry ?p0) (not (wet ?p0))))
  (:action glaze
    :parameters (?p0 - pot)
    :precondition (and (biscuit ?p0) (on-bench ?p0))
    :effect (and (glazed ?p0) (not (biscuit ?p0))))
  (:action load
    :parameters (?p0 - pot ?p1 - shelf ?p2 - kiln)
    :precondition (and (on-bench ?p0) (free ?p1) (shelf-of ?p1 ?p2) (not (hot ?p2)) (not (clay ?p0)))
    :effect (and (standing ?p0 ?p1) (not (on-bench ?p0)) (not (free ?p1))))
  (:action unload
    :parameters (?p0 - pot ?p1 - shelf ?p2 - kiln)
    :precondition (and (standing ?p0 ?p1) (shelf-of ?p1 ?p2) (not (hot ?p2)))
    :effect (and (on-bench ?p0) (free ?p1) (not (standing ?p0 ?p1))))
  (:action fire
    :parameters (?p0 - kiln)
    :precondition (not (hot ?p0))
    :effect (and (hot ?p0) (forall (?p - pot ?s - shelf) (when (and (standing ?p ?s) (shelf-of ?s ?p0) (wet ?p)) (and (cracked ?p) (not (wet ?p))))) (forall (?p - pot ?s - shelf) (when (and (standing ?p ?s) (shelf-of ?s ?p0) (dry ?p)) (and (biscuit ?p) (not (dry ?p))))) (forall (?p - pot ?s - shelf) (when (and (standing ?p ?s) (shelf-of ?s ?p0) (glazed ?p)) (and (finished ?p) (not (glazed ?p)))))))
  (:action cool
    :parameters (?p0 - kiln)
    :precondition (hot ?p0)
    :effect (not (hot ?p0)))
  (:action crush
    :parameters (?p0 - pot)
    :precondition (and (cracked ?p0) (on-bench ?p0))
    :effect (and (clay ?p0) (not (cracked ?p0)))))
