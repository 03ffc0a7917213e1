// What the tests give the relay: the time.

/// The time that goes on whatever the wall clock does.
struct Clock {
  let read: () -> ContinuousClock.Instant
  var now: ContinuousClock.Instant { read() }
}
