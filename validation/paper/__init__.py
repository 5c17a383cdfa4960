"""The paper's studies repeated: Montesinos-Lopez et al. (2016), G3 6:2725-2744."""

from validation.paper import accuracy as accuracy
from validation.paper import maize as maize
from validation.paper import recovery as recovery
from validation.paper import sensitivity as sensitivity
from validation.paper import wheat as wheat
