package messages

// The topics of the bus.
const (
	// TopicNodeChanged is where nodes publish NodeChanged, whole, whenever they change.
	TopicNodeChanged = "node.changed"
	// TopicObservations is where integrations publish Observations for the inbox.
	TopicObservations = "observations"
	// TopicPoison is where the inbox keeps observations that nobody can decide.
	TopicPoison = "observations.poison"
)
