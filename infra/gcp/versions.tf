terraform {
  required_version = ">= 1.11"

  required_providers {
    google = {
      source = "hashicorp/google"
      # 7.21 brought direct VPC egress for functions, which costs nothing while idle, as a connector does.
      version = ">= 7.21, < 9.0"
    }
  }
}
