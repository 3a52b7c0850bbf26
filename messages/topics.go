package messages

// The topics of the bus.
const (
	// TopicNodeChanged is where nodes publish NodeChanged, whole, whenever they change.
	TopicNodeChanged = "node.changed"
	// TopicObservations is where integrations publish Observations for the inbox.
	TopicObservations = "observations"
	// TopicAccess is where users and sessions publish AccessChanged for gateways.
	TopicAccess = "access.changed"
	// TopicAcknowledged is where users publish BroadcastsAcknowledged for the overview.
	TopicAcknowledged = "broadcast.acknowledged"
	// TopicPoison is where the inbox keeps observations that nobody can decide.
	TopicPoison = "observations.poison"
)
