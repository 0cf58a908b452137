package ocpp

// InspectNow looks at the certificates of those who are connected, as it happens
// each minute.
func (s *Server) InspectNow() { s.inspectNow() }
