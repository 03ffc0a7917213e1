import DroverCore
import DroverEvents

/// What an operator can observe of the agent. It counts failures on the way to the cloud.
protocol AgentEvent: ObservableEvent where Metric == DeliveryFailure.Kind {}

typealias AgentLog = EventLog<DeliveryFailure.Kind>

/// A duration for people.
func ageText(_ length: Duration) -> String { ageText(Int64(length / .microseconds(1))) }
