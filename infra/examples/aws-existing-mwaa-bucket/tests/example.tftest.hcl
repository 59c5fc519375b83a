mock_provider "aws" {
  source          = "../../aws/tests/mocks"
  override_during = plan
}

variables {
  zip_file = "../../aws/tests/function.zip"
}

run "plan" {
  command = plan

  assert {
    condition     = length(module.dagbucket.created_buckets) == 0
    error_message = "The existing bucket is to be created."
  }

  assert {
    condition     = strcontains(output.next[1], ".QueueConfigurations") && strcontains(output.next[1], "select(.QueueArn !=")
    error_message = "The command does not keep the entries of others."
  }
}
