package cloudfunction

// version is what deploys say of this program; `make package` stages another file of this name instead, with that of the package.
const version = "dev"
