# Without values for what is computed: as at a first apply.
mock_provider "aws" {
  mock_data "aws_caller_identity" {
    override_during = plan
    defaults        = { account_id = "123456789012" }
  }

  mock_data "aws_partition" {
    override_during = plan
    defaults        = { dns_suffix = "amazonaws.com", partition = "aws" }
  }

  mock_data "aws_region" {
    override_during = plan
    defaults        = { region = "eu-west-1" }
  }
}

run "nothing_is_known_but_names" {
  command = plan

  module {
    source = "./tests/unknown"
  }

  assert {
    condition     = output.function_name == "dagbucket"
    error_message = "Something that is counted or named depends on an ARN."
  }
}
