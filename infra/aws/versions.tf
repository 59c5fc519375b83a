terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # 6.22 to 6.39 want to change the encryption of each bucket at every plan.
      version = ">= 6.40, < 7.0"
    }
  }
}
