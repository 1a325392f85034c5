"""What can be relied on: photos of none of the classes, wrong labels, copies, sets of classes with a guarantee."""
