"""What stands between a driver and keepers on other machines: a bridge beside the driver, a relay beside each keeper.

    driver ==socket pairs==> bridge ~~Ray~~> relay ==socket pair==> keeper ==socket pair==> host
           (one a keeper)    (one process)   (an actor)              (same code as on one machine)

Driver and keeper say to each other what they say on one machine (`worker.protocol`); bridge and relay pass it on. The
bridge is a process of its own, so that the driver knows no Ray: a connection that is lost, which Ray answers by ending
the process, ends the bridge, and the driver sees its keepers go. Bridge, relays and keepers run on the cluster's own
Python: the standard library, and `ray` in bridge and relays. A cluster's nodes need no edit-eval: the bridge brings it.
"""
