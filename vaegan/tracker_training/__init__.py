"""Everything that only trains the face tracker."""
