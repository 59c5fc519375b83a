terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.40, < 7.0"
    }
  }
}

provider "aws" {
  region = "eu-west-1"
}

locals {
  # One folder, one Deployment a team. A real list would come from a file: yamldecode(file("teams.yaml")).
  teams = { for i in range(1, 41) : format("team-%02d", i) => format("clmh57jtm000008lb58fe2t%02d", i) }
}

# One module, one function, one queue. Events of different teams may come to different invocations, as many at once as there are teams; the
# schedule is one message, whose invocation looks at all teams side by side. Hence the longest time-out there is, in case that Astro is slow.
module "dagbucket" {
  source   = "../../aws"
  zip_file = var.zip_file
  timeout  = 900
  routes = [for team, deployment in local.teams : {
    name       = team
    sources    = [{ url = "s3://acme-dags/${team}/" }]
    deployment = deployment
    token      = "aws-sm:${var.tokens_secret_arn}#${team}"
  }]
}
